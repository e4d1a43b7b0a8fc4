"""Cross-entropy with the labels, the usual task loss, for the main and the auxiliary head."""

from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import NonNegative
from segdistill.losses._declare import loss_function, module_of

# Number of upsampled logits that are held at a time: 64 MB in float32, and about as much for each of three copies.
UPSAMPLED_AT_A_TIME = 2**24


@loss_function(equal_channels=False, needs_teacher=False, takes_aux=True, reads_classes=True, mean_over="pixels")
def cross_entropy(
    student: Tensor | tuple[Tensor, Tensor | None],
    teacher: object = None,
    labels: Tensor | None = None,
    *,
    ignore_index: int = 255,
    aux_weight: NonNegative = 0.4,
    align_corners: bool = True,
) -> Tensor:
    r"""Return the mean over valid pixels of :math:`-\log \sigma(z)_y`, in nats, plus that of the auxiliary logits.

    .. math:: \mathrm{CE}(z, y) + w_{\mathrm{aux}}\, \mathrm{CE}(z_{\mathrm{aux}}, y)

    Args:
        student: Logits, shape (N, C, h, w), or (N, C) for image classification; or a tuple of these and the
            logits of the auxiliary head (or None). They are upsampled to the labels bilinearly, a few images at a time.
        teacher: Not used. Every loss has this parameter.
        labels: Class indices, shape (N, H, W), or (N,); required.
        ignore_index: Label of ignored pixels.
        aux_weight: Weight of the auxiliary head.
        align_corners: Whether the upsampling aligns the centers of the corner pixels, as in CIRKD's code and in smp, or
            the corners themselves, as in torchvision and transformers. A Distiller's own task, recipes and methods by
            name take it from the student.

    Raises:
        ValueError: If labels are missing, do not fit the logits, or are neither a class nor ``ignore_index``. On CUDA,
            PyTorch reports the last as a device-side assertion.

    Example:
        >>> import torch
        >>> from segdistill.losses import cross_entropy
        >>> logits = torch.zeros(1, 4, 2, 2)  # four classes, all equally likely: ln 4
        >>> labels = torch.zeros(1, 8, 8, dtype=torch.long)
        >>> round(cross_entropy(logits, None, labels).item(), 4)
        1.3863

    Reference: the supervised part of CIRKD (Yang et al., 2022, https://arxiv.org/abs/2204.06986) and GSKD.
    """
    if labels is None:
        raise ValueError('cross_entropy needs labels, got None; give its Term labels="valid"')
    logits, aux = student if isinstance(student, tuple) else (student, None)
    loss = _head(logits, labels, ignore_index, align_corners)
    return loss if aux is None else loss + aux_weight * _head(aux, labels, ignore_index, align_corners)


def _head(logits: Tensor, labels: Tensor, ignore_index: int, align_corners: bool) -> Tensor:
    if (logits.dim(), labels.dim()) not in ((4, 3), (2, 1)) or logits.shape[0] != labels.shape[0]:
        raise ValueError(
            "logits must be (N, C, h, w) with labels (N, H, W), or (N, C) with labels (N,), "
            f"got logits {tuple(logits.shape)} and labels {tuple(labels.shape)}"
        )
    images = max(1, UPSAMPLED_AT_A_TIME // (logits.shape[1] * labels[0].numel()))
    try:
        if images >= len(logits) or logits.shape[2:] == labels.shape[1:] or torch.compiler.is_compiling():
            total = _sum(logits, labels, ignore_index, align_corners)
        else:
            total = _SumInPieces.apply(logits, labels, ignore_index, align_corners, images)
    except IndexError:  # looking at the labels before would wait for the device
        raise ValueError(_unknown_label(labels, logits.shape[1], ignore_index)) from None
    return total / (labels != ignore_index).sum().clamp(min=1)


def _sum(logits: Tensor, labels: Tensor, ignore_index: int, align_corners: bool) -> Tensor:
    """Return the sum over valid pixels, of logits upsampled to the labels."""
    if logits.shape[2:] != labels.shape[1:]:
        logits = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=align_corners)
    return F.cross_entropy(logits, labels.long(), ignore_index=ignore_index, reduction="sum")


class _SumInPieces(torch.autograd.Function):
    """:func:`_sum` over a few images at a time, with their gradient at once, before the next ones are upsampled.

    Only the gradient at the resolution of the logits is kept. The upsampled logits of a batch of 16 crops of 512x1024
    with 19 classes take 640 MB, and as much again for each of their copies.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, ignore_index: int, align_corners: bool, images: int
    ) -> Tensor:
        learns = ctx.needs_input_grad[0]
        values: list[Tensor] = []
        gradients: list[Tensor] = []
        for piece, target in zip(torch.split(logits, images), torch.split(labels, images), strict=True):
            with torch.set_grad_enabled(learns):
                piece = piece.detach().requires_grad_(learns)
                value = _sum(piece, target, ignore_index, align_corners)
            if learns:
                gradients += torch.autograd.grad(value, piece)
            values.append(value.detach())
        ctx.save_for_backward(logits, *gradients)
        return torch.stack(values).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        logits, *gradients = ctx.saved_tensors
        stored = torch.cat(gradients)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            stored = _Stored.apply(stored, logits)
        return gradient * stored, None, None, None, None


class _Stored(torch.autograd.Function):
    """A gradient that was computed without a graph, for ``create_graph=True``: its own derivative is an error."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, logits: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> NoReturn:
        raise RuntimeError("cross_entropy of a large batch has no second derivative; split the batch")


def _unknown_label(labels: Tensor, classes: int, ignore_index: int) -> str:
    wrong = labels[(labels != ignore_index) & ((labels < 0) | (labels >= classes))]
    return (
        f"labels hold {int(wrong[0])}, and the logits have {classes} classes; "
        f"expected 0 to {classes - 1}, or {ignore_index} (ignore_index) for void"
    )


@module_of(cross_entropy)
class CrossEntropy(nn.Module):
    """Module form of :func:`cross_entropy`."""

    def __init__(self, *, ignore_index: int = 255, aux_weight: float = 0.4, align_corners: bool = True) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.aux_weight = aux_weight
        self.align_corners = align_corners

    def forward(
        self,
        student: Tensor | tuple[Tensor, Tensor | None],
        teacher: object = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Return the loss, a scalar."""
        return cross_entropy(
            student,
            teacher,
            labels,
            ignore_index=self.ignore_index,
            aux_weight=self.aux_weight,
            align_corners=self.align_corners,
        )
