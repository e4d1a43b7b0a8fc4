"""Cross-entropy with the labels, the usual task loss, for the main and the auxiliary head."""

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import NonNegative
from segdistill.losses._declare import loss_function, module_of


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
            logits of the auxiliary head (or None). They are upsampled to the labels bilinearly.
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
    if logits.shape[2:] != labels.shape[1:]:
        logits = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=align_corners)
    try:
        total = F.cross_entropy(logits, labels.long(), ignore_index=ignore_index, reduction="sum")
    except IndexError:  # looking at the labels before would wait for the device
        raise ValueError(_unknown_label(labels, logits.shape[1], ignore_index)) from None
    return total / (labels != ignore_index).sum().clamp(min=1)


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
