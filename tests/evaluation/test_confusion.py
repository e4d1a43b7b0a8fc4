"""Confusion matrix on the device, against torchmetrics and by hand."""

import pytest
import torch
from lightning_fabric import Fabric

from segdistill.evaluation.confusion import Confusion

CPU = torch.device("cpu")


def test_by_hand() -> None:
    confusion = Confusion(3, 255, CPU)
    confusion.add(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 255]))
    confusion.add(torch.tensor([[2, 2]]), torch.tensor([[0, 2]]))
    assert confusion.total(Fabric(accelerator="cpu")).tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 1]]


@pytest.mark.parametrize("ignored", [255, -1])
@pytest.mark.parametrize("is_on_cpu", [True, False])
def test_as_torchmetrics(ignored: int, is_on_cpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = pytest.importorskip("torchmetrics.classification")
    expected = metrics.MulticlassConfusionMatrix(5, ignore_index=ignored)
    confusion = Confusion(5, ignored, CPU)
    if not is_on_cpu:  # the counting of an accelerator
        monkeypatch.setattr("segdistill.evaluation.confusion.CPU", "another device")
    numbers = torch.Generator().manual_seed(0)
    for _ in range(3):
        predicted, labels = (torch.randint(5, (2, 7, 9), generator=numbers) for _ in range(2))
        labels[torch.rand(labels.shape, generator=numbers) < 0.3] = ignored
        confusion.add(predicted, labels)
        expected.update(predicted, labels)
    assert torch.equal(confusion.total(Fabric(accelerator="cpu")), expected.compute())
