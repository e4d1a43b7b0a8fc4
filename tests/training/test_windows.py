"""Runs whose networks are scored in windows: counted, drawn and reported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from segdistill.evaluation.cost import count_flops
from segdistill.recipes import load
from segdistill.training import run_pictures
from segdistill.training.measure import measure
from segdistill.training.run import distill
from segdistill.training.score_record import score_record
from segdistill.training.session import Session
from tests.networks import Fixed, small
from tests.tiny import tiny

WINDOWS = ("evaluation.window=[16,24]", "data.crop=[16,24]")


def test_a_network_of_one_size_finishes_its_run(tmp_path: Path, console: Console) -> None:
    fixed = ("student.model=tests.networks:Fixed", "teacher.model=tests.networks:Fixed", "method=kd")
    distill(tiny(*WINDOWS, *fixed), tmp_path, console=console)
    result = json.loads((tmp_path / "result.json").read_text())
    for record in (result, result["teacher"]):
        assert record["flops_size"] == [16, 24]
        assert record["flops"] == count_flops(Fixed(10), (16, 24)) == 2 * 3 * 10 * 16 * 24
    assert (tmp_path / "figures" / "comparison.png").is_file()
    session = Session(load(tmp_path / "recipe.yaml"))
    measured = measure(session, {"kd": tmp_path, "student alone": tmp_path / "alone"}, tmp_path)
    assert "one image of 16x24" in measured.timed
    assert measured.scenes


def test_operations_are_those_of_a_whole_image_where_the_network_takes_it() -> None:
    recipe = tiny(*WINDOWS)
    session = Session(recipe)
    dataset, network = session.dataset("val"), small(10)
    score = session.evaluate(network, "val", "it")
    record = score_record(score, network, dataset, recipe.data, "val", recipe.evaluation)
    assert record["flops_size"] == [32, 48]
    with pytest.raises(AssertionError):  # without windows, there is nothing else to count
        score_record(score, Fixed(10), dataset, recipe.data, "val", tiny().evaluation)


class Size(nn.Module):
    """A network that predicts class 1 for images of one size and class 0 for others."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.weight = size, nn.Parameter(torch.ones(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        is_size = tuple(images.shape[-2:]) == self.size
        scores = torch.zeros(len(images), 10, *images.shape[-2:])
        scores[:, int(is_size)] = 1
        return scores * self.weight


@pytest.mark.parametrize(
    ("change", "size"),
    [("evaluation.short_side=48", (48, 72)), ("evaluation.window=[16,24]", (16, 24)), ("seed=0", (32, 48))],
)
def test_the_picture_shows_what_was_scored(
    change: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, drawn = Session(tiny(change)), []
    monkeypatch.setattr(run_pictures, "grid", lambda rows, classes, file: drawn.extend(rows))
    networks = {"one": Size(size), "zero": Size((1, 1))}
    dataset = session.dataset("val")
    run_pictures.side_by_side(networks, dataset, session.fabric, tmp_path / "a.png", session.recipe.evaluation)
    assert len(drawn) == 3
    for row in drawn:
        assert all(picture.shape == (32, 48, 3) for picture in row.values())
        for index, name in enumerate(("zero", "one")):
            assert np.array_equal(np.unique(row[name].reshape(-1, 3), axis=0), [dataset.classes.palette[index]])
