"""Random inputs for every loss: value and gradients are finite, zero at void pixels, and absent at the teacher.

The examples are the same in every run, and others for every row. A failure prints the smallest batch that shows it.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import pytest
import torch
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from segdistill.losses import SelfTaught, cross_entropy
from tests.losses.case import Case, cases, name_of, run

Maps = tuple[Tensor, ...]

VOID = 255
EXAMPLES = 25
PHASES = (Phase.generate, Phase.shrink)  # to explain a failure takes minutes
CHOICES: dict[str, tuple[Any, ...]] = {
    "images": (1, 2, 3, 4),
    "height": (1, 2, 3, 5, 8, 9),
    "width": (1, 2, 3, 5, 8, 9),
    "dtype": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
    "size": (1.0, 0.0, 1e-6, 30.0, 1e3),  # standard deviation of the features
    "agrees": (False, True),  # student = teacher
    "channels_last": (False, True),
    "label_size": ("same", "double", "odd", "small", "image"),  # the last is one label for each image
    "classes": ((0, 1, 2, 3, 4), (3,), (0, 4, 50)),  # 50 is no class
    "void": ("none", "some", "image", "all but one", "all"),
    "scale": (1.0, 1e4, 2.0**16),  # of the value before the backward pass; a GradScaler begins with the last
}


@dataclass(frozen=True)
class Batch:
    """Description of a batch, one of ``CHOICES`` in each field, from which its tensors follow."""

    images: int
    height: int
    width: int
    dtype: torch.dtype
    size: float
    agrees: bool
    channels_last: bool
    label_size: str
    classes: tuple[int, ...]
    void: str
    scale: float
    number: int  # seed of the tensors

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return student, teacher and labels; both maps require a gradient."""
        rng = torch.Generator().manual_seed(self.number)
        maps = self.size * torch.randn(2, self.images, 6, self.height, self.width, generator=rng, dtype=torch.float64)
        memory = torch.channels_last if self.channels_last else torch.contiguous_format
        student, teacher = (x.to(self.dtype).contiguous(memory_format=memory) for x in maps)
        if self.agrees:
            student = teacher.clone()
        return student.requires_grad_(), teacher.requires_grad_(), self._labels(rng)

    def _labels(self, rng: torch.Generator) -> Tensor:
        sides = {
            "same": (self.height, self.width),
            "double": (2 * self.height, 2 * self.width),
            "odd": (7, 11),
            "small": (1, 2),
            "image": (),
        }[self.label_size]
        shape = (self.images, *sides)
        labels = torch.tensor(self.classes)[torch.randint(len(self.classes), shape, generator=rng)]
        if self.void == "some":
            labels[torch.rand(shape, generator=rng) < 0.5] = VOID
        elif self.void == "image":
            labels[0] = VOID
        elif self.void == "all but one":
            kept = labels.flatten()[-1].clone()
            labels.fill_(VOID).view(-1)[-1] = kept
        elif self.void == "all":
            labels.fill_(VOID)
        return labels

    def void_at(self, labels: Tensor) -> Tensor:
        """Return where the map is void, by the nearest label of every position, boolean (N, H, W)."""
        if labels.dim() == 1:
            return (labels == VOID)[:, None, None].expand(-1, self.height, self.width)
        rows, columns = (
            torch.arange(ours) * theirs // ours
            for ours, theirs in zip((self.height, self.width), labels.shape[1:], strict=True)
        )
        return labels[:, rows[:, None], columns] == VOID


def one_of(choices: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Draw one of the choices, the first ones a little more often.

    It is made of booleans, because Hypothesis takes some whole numbers from the source of all modules that happen to be
    imported: the examples would depend on the tests that ran before.
    """
    bits = (len(choices) - 1).bit_length()
    return st.tuples(*[st.booleans()] * bits).map(
        lambda drawn: choices[sum(bit << place for place, bit in enumerate(drawn)) % len(choices)]
    )


BATCHES = st.builds(
    Batch,
    **{name: one_of(choices) for name, choices in CHOICES.items()},
    number=one_of(range(1024)),
)


def fuzzed(name: str, check: Callable[[Batch], None]) -> None:
    """Call ``check`` with examples that depend on ``name`` alone."""

    @seed(crc32(name.encode()))
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=PHASES)
    @given(BATCHES)
    def one(batch: Batch) -> None:
        check(batch)

    one()


def maps_of(case: Case, x: Tensor) -> Maps:
    """Return the map, or the maps of a loss of several, each a leaf: their gradients do not meet in half precision."""
    maps = (x, x.flip(1).relu()) if case.maps else (x,)
    return tuple(each.detach().clone().requires_grad_() for each in maps)


def value_of(case: Case, loss: nn.Module, student: Maps, teacher: Maps, labels: Tensor) -> Tensor:
    """Call the loss with tuples of maps, or with their only map."""
    return run(loss.loss, student, teacher, labels) if case.maps else run(loss, *student, *teacher, labels)


def overflows(case: Case, batch: Batch) -> Tensor:
    """Return where the gradient, computed in float32, exceeds the range of float16: a GradScaler expects inf there."""
    student, teacher, labels = batch.tensors()
    ours, theirs = (maps_of(case, x.float()) for x in (student, teacher))
    value = value_of(case, case.build(), ours, theirs, labels)
    exact = torch.cat(torch.autograd.grad(value * batch.scale, ours), dim=1)
    return exact.abs() > 0.9 * torch.finfo(torch.float16).max


def check_loss(batch: Batch, *, case: Case) -> None:
    student, teacher, labels = batch.tensors()
    ours, theirs = maps_of(case, student), maps_of(case, teacher)
    loss = case.build()
    value = value_of(case, loss, ours, theirs, labels)
    (value * batch.scale).backward()
    gradient = torch.cat([x.grad for x in ours], dim=1)

    assert value.shape == ()
    assert value.dtype == (torch.float64 if batch.dtype == torch.float64 else torch.float32)
    assert value.isfinite()
    assert all(x.grad is None for x in theirs)
    if batch.dtype == torch.float16:
        assert (gradient.isfinite() | (gradient.isinf() & overflows(case, batch))).all()
    else:
        assert gradient.isfinite().all()

    void = batch.void_at(labels)
    assert (gradient.movedim(1, -1)[void] == 0).all()
    if void.all():
        assert value == 0
    if isinstance(loss, SelfTaught):
        known = labels.where(labels < 5, VOID)  # the objectives of masks are supervised by the labels
        check_inner_objective(loss, student, teacher, known)


def check_inner_objective(loss: SelfTaught, student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    loss.zero_grad()
    objective = run(loss.inner_objective, student, teacher, labels)
    objective.backward()
    assert objective.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in loss.inner_parameters())
    assert student.grad is None
    assert teacher.grad is None


@pytest.mark.parametrize("case", cases(), ids=name_of)
def test_every_loss_is_finite_and_blind_to_void(case: Case) -> None:
    fuzzed(name_of(case), functools.partial(check_loss, case=case))


def check_task(batch: Batch) -> None:
    student, aux, labels = batch.tensors()
    if labels.dim() == 1:
        labels = labels[:, None, None]
    labels = labels.where(labels < 6, VOID)
    value = cross_entropy((student, aux), None, labels)
    (value * batch.scale).backward()
    for gradient in (student.grad, aux.grad):
        assert value.isfinite()
        assert gradient.isfinite().all() or batch.dtype == torch.float16
        assert not gradient.isnan().any()
        if (labels == VOID).all():
            assert value == gradient.abs().sum() == 0


def test_the_task_is_finite() -> None:
    fuzzed("cross_entropy", check_task)


def test_the_examples_reach_every_choice() -> None:
    seen: list[Batch] = []
    for case in cases():
        fuzzed(name_of(case), seen.append)
    for name, choices in CHOICES.items():
        assert {getattr(batch, name) for batch in seen} == set(choices)
