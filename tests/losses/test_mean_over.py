"""What the mean of each loss counts: the value of a batch from those of its parts, exactly where the card says so."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from segdistill.distillation.term import Term
from segdistill.losses import OFD, cross_entropy, fsp
from tests.losses.case import Case, cases, name_of

PARTS = (slice(0, 4), slice(4, 7))


def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is drawn for an image not depend on the images before it."""
    monkeypatch.setattr(torch, "randperm", lambda size, **where: torch.arange(size, device=where.get("device")))
    monkeypatch.setattr(torch, "rand", lambda *sizes, **where: torch.zeros(*sizes) + 0.5)
    monkeypatch.setattr(torch, "randn", lambda sizes, **where: torch.zeros(sizes))


def with_fixed_statistics(loss: nn.Module) -> nn.Module:
    """Let batch normalisation, which sees the batch in any loss as in any network, use statistics of its own."""
    for module in loss.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            module.running_mean, module.running_var = (x(module.num_features) for x in (torch.zeros, torch.ones))
    return loss.eval()


def unevenly_void(labels: Tensor) -> Tensor:
    """Four images with much void, the first all void; three with little."""
    labels = labels.clamp(max=3)  # within the classes of every case
    labels[0] = 255
    labels[1, :28] = 255
    labels[2, :, :12] = 255
    labels[4, :, 20:] = 255
    return labels


@pytest.mark.parametrize("case", cases(), ids=name_of)
def test_parts_add_up_to_the_batch_exactly_where_the_loss_says_so(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = case.build()
    student, teacher, labels = replace(case, images=7).inputs(torch.float64, size=16)
    labels = unevenly_void(labels)
    without_chance(monkeypatch)
    loss(student, teacher, labels)  # what the first batch decides
    loss = with_fixed_statistics(loss)
    whole = loss(student, teacher, labels)
    values = torch.stack([loss(student[part], teacher[part], labels[part]) for part in PARTS])
    valid = labels[:, ::2, ::2] != 255
    counts = {
        "pixels": [int(valid[part].sum()) for part in PARTS],
        "images": [int(valid[part].flatten(1).any(dim=1).sum()) for part in PARTS],
    }
    fits = {
        kind: torch.allclose((values * torch.tensor(count)).sum() / sum(count), whole, rtol=1e-6)
        for kind, count in counts.items()
    }
    mean_over = Term(loss.loss if case.maps else loss).mean_over
    assert {kind for kind, fit in fits.items() if fit} == ({mean_over} - {"batch"})


def test_the_task_counts_the_pixels_of_the_labels(rng: torch.Generator) -> None:
    logits, aux = torch.randn(2, 7, 5, 16, 16, generator=rng)
    labels = unevenly_void(torch.randint(0, 5, (7, 32, 32), generator=rng))
    counts = [int((labels[part] != 255).sum()) for part in PARTS]
    values = [cross_entropy((logits[part], aux[part]), None, labels[part]) for part in PARTS]
    expected = sum(count * value for count, value in zip(counts, values, strict=True)) / sum(counts)
    torch.testing.assert_close(cross_entropy((logits, aux), None, labels), expected)
    term = Term(cross_entropy).as_task().wire({"logits": logits.shape}, {})
    assert [int(term.count({}, {"valid": labels[part]}, 255)) for part in PARTS] == counts


def test_of_several_maps_the_coarsest_counts(rng: torch.Generator) -> None:
    maps = [torch.randn(2, 2, 3, size, size, generator=rng) for size in (8, 4)]
    (student, teacher) = zip(*maps, strict=True)
    labels = torch.full((2, 8, 8), 255)
    labels[0, 1, 1] = labels[1, 2, 2] = 0  # the first image's one pixel is not seen at half the size
    second = [tuple(x[1:] for x in side) for side in (student, teacher)]
    torch.testing.assert_close(fsp(student, teacher, labels), fsp(*second, labels[1:]))
    shapes = {name: x.shape for name, x in zip(("fine", "coarse"), teacher, strict=True)}
    term = Term(fsp, on=["fine", "coarse"], labels="valid").wire(shapes, shapes)
    assert int(term.count(dict(zip(("fine", "coarse"), teacher, strict=True)), {"valid": labels}, 255)) == 1


def test_an_image_whose_labels_the_coarsest_map_does_not_see_counts_in_no_map_of_ofd(rng: torch.Generator) -> None:
    student, teacher = ([torch.randn(2, 3, size, size, generator=rng) for size in (8, 4)] for _ in range(2))
    labels = torch.full((2, 8, 8), 255)
    labels[0, 1, 1] = labels[1, 2, 2] = 0  # the first image's one pixel is not seen at half the size
    loss = OFD(student_channels=(3, 3), teacher_channels=(3, 3), margin=[torch.zeros(3)] * 2).eval()
    second = [tuple(x[1:] for x in side) for side in (student, teacher)]
    torch.testing.assert_close(loss(tuple(student), tuple(teacher), labels), loss(*second, labels[1:]))
    first = [tuple(x[:1] for x in side) for side in (student, teacher)]
    assert loss(*first, labels[:1]).item() == 0
