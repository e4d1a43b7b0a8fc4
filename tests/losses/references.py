"""Comparison of a loss with its equation written out: value and gradients, in float64."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Maps = Tensor | tuple[Tensor, ...]


def batch(
    student_channels: int = 5,
    teacher_channels: int = 5,
    *,
    images: int = 3,
    size: tuple[int, int] = (3, 4),
    classes: int = 5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw student, teacher and labels: the last image is void, and so is a fifth of the other positions."""
    rng = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(images, channels, *size, generator=rng, dtype=torch.float64)
        for channels in (student_channels, teacher_channels)
    )
    labels = torch.randint(0, classes, (images, *size), generator=rng)
    labels[torch.rand(labels.shape, generator=rng) < 0.2] = 255
    labels[-1] = 255
    return student.requires_grad_(), teacher, labels


def same_value_and_gradient(
    loss: Callable[[], Tensor], reference: Callable[[], Tensor], inputs: Iterable[Tensor], *, relative: float = 1e-9
) -> None:
    """Check that both have the same value and the same gradient, not zero, with respect to all ``inputs`` together."""
    inputs = list(inputs)
    value, expected = loss(), reference()
    assert expected.dtype == torch.float64, "write the reference in float64"
    torch.testing.assert_close(value, expected, rtol=relative, atol=0)
    ours, theirs = (
        torch.cat([gradient.flatten() for gradient in torch.autograd.grad(x, inputs)]) for x in (value, expected)
    )
    largest = theirs.abs().max().item()
    assert largest > 0, "the inputs have no gradient"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=relative * largest)


def batch_normalized(rows: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return ``rows`` (rows, channels) after batch normalization, written out."""
    mean = sum(rows) / len(rows)
    variance = sum((rows - mean) ** 2) / len(rows)
    return (rows - mean) / (variance + 1e-5).sqrt() * scale + shift
