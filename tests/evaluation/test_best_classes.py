"""The class of every pixel in pieces, against the argmax of the whole map."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.errors import UserError
from segdistill.evaluation import best_classes as module
from segdistill.evaluation.best_classes import best_classes, upsampled_argmax
from segdistill.evaluation.class_scores import class_scores
from segdistill.recipes.schema import Evaluation

SIZE = (24, 31)
OF_CLASS = 4 * 24 * 31


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(3, 7, 5, 8, generator=torch.Generator().manual_seed(0))


def whole(logits: Tensor, aligned: bool = False) -> Tensor:
    return F.interpolate(logits, SIZE, mode="bilinear", align_corners=aligned)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("limit", [1, OF_CLASS, 3 * OF_CLASS + 1, 7 * OF_CLASS, 21 * OF_CLASS])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_pieces_give_the_argmax_of_the_whole(
    logits: Tensor, aligned: bool, limit: int, form: torch.memory_format
) -> None:
    logits = logits.to(memory_format=form)
    found = upsampled_argmax(logits, SIZE, aligned, limit=limit)
    assert found.dtype == torch.long
    assert torch.equal(found, whole(logits, aligned).argmax(1))


@pytest.mark.parametrize("limit", [1, 2 * OF_CLASS, 10**9])
def test_equal_scores_and_nan_choose_as_argmax_does(logits: Tensor, limit: int) -> None:
    logits[:, 4] = logits[:, 1] = 9.0
    logits[0, 5] = torch.nan
    found = upsampled_argmax(logits, SIZE, False, limit=limit)
    assert torch.equal(found, whole(logits).argmax(1))
    assert found[0].unique().tolist() == [5]
    assert found[1].unique().tolist() == [1]


@pytest.mark.parametrize("limit", [1, 2 * OF_CLASS, 10**9])
def test_void_classes_are_never_chosen(logits: Tensor, limit: int) -> None:
    logits[:, 2] = 9.0
    found = upsampled_argmax(logits, SIZE, False, (2, 6), limit)
    expected = whole(logits)
    expected[:, [2, 6]] = -torch.inf
    assert torch.equal(found, expected.argmax(1))


def test_no_map_is_larger_than_the_limit(logits: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    upsampled = module._upsampled

    def counted(*args):
        made = upsampled(*args)
        sizes.append(made.numel() * made.element_size())
        return made

    monkeypatch.setattr(module, "_upsampled", counted)
    upsampled_argmax(logits, SIZE, False, limit=3 * OF_CLASS)
    assert sizes == [3 * OF_CLASS, 3 * OF_CLASS, OF_CLASS] * 3
    sizes.clear()
    upsampled_argmax(logits, SIZE, False, limit=7 * OF_CLASS)
    assert sizes == [7 * OF_CLASS] * 3


@pytest.mark.parametrize(
    "protocol",
    [
        Evaluation(),
        Evaluation(window=(99, 99)),
        Evaluation(window=(8, 8)),
        Evaluation(flip=True),
        Evaluation(scales=(0.5, 1.0)),
    ],
)
@pytest.mark.parametrize("aligned", [False, True])
def test_every_protocol(protocol: Evaluation, aligned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3, stride=2).eval()
    network.align_corners = aligned
    images = torch.randn(2, 3, 12, 20)
    monkeypatch.setattr(module, "BYTES", 100)
    found = best_classes(network, images, SIZE, protocol, void=(1,))
    scores = class_scores(network, images, SIZE, protocol)
    scores[:, 1] = -torch.inf
    assert torch.equal(found, scores.argmax(1))


def test_scores_of_images_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"scores of shape \(1, 5\), not \(N, C, H, W\): it classifies images; give one"
    ):
        upsampled_argmax(torch.zeros(1, 5), SIZE, False)
