"""The papers' networks beside what the papers print of them."""

import pytest

from segdistill.evaluation.network_costs import NetworkCost, network_costs


@pytest.fixture(scope="module")
def costs() -> list[NetworkCost]:
    return network_costs()


def test_parameters_are_the_printed_ones(costs: list[NetworkCost]) -> None:
    assert {"GSKD", "AICSD", "I2CKD"} == {cost.row.paper for cost in costs}
    # AICSD's MobileNetV2 (5.816 of 5.9) and SegFormer-B0 (3.753 at 150 classes, printed as 3.8): within 1.5 %.
    wider = {"deeplabv3plus_mobilenetv2": 0.015, "segformer_b0": 0.015}
    for cost in costs:
        if cost.row.params is not None:
            tolerance = wider.get(cost.model, 0.01 + 0.05 / cost.row.params / 2)  # printed with one decimal
            assert cost.params == pytest.approx(cost.row.params, rel=tolerance), cost


def test_operations_at_the_sizes_that_are_printed(costs: list[NetworkCost]) -> None:
    counted = {(cost.model, cost.size): cost.multiply_adds for cost in costs}
    assert counted["segformer_b0", (512, 512)] == pytest.approx(8.4, abs=0.05)
    assert counted["deeplabv3_resnet18", (1024, 2048)] == pytest.approx(517.5, abs=0.1)
    for cost in costs:
        if cost.row.flops is not None and cost.size == (1024, 2048):
            assert 0.8 < cost.multiply_adds / cost.row.flops < 1
