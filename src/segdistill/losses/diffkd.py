"""DiffKD: denoise the student's features with a diffusion model of the teacher's features, then match the teacher."""

from collections.abc import Iterator
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.losses._checks import Count, Range, checked
from segdistill.losses._declare import loss_function
from segdistill.losses._diffusion import LEFT, STEPS, Bottleneck, Denoiser, batch_norm, denoised
from segdistill.losses._ops import (
    call_in_dtype,
    check_channels,
    check_shapes,
    masked_mean,
    random_on,
    valid_at,
    zero_void,
)
from segdistill.losses.self_taught import SelfTaught


class DiffKD(SelfTaught):
    r"""Mean over valid positions and channels of the squared difference to the teacher's features, after denoising.

    The student's features :math:`F`, brought to the teacher's width by a 1x1 convolution, are treated as noisy features
    of the teacher. A noise adapter predicts a share :math:`\gamma` in (0, 1) for each image, which mixes in noise up to
    the level at which the denoiser starts. Deterministic DDIM, :math:`D`, then removes the noise:

    .. math:: \frac{1}{|V| C} \sum_{i \in V} \big\Vert P\big(D(\gamma F + (1 - \gamma) \epsilon)\big)_i - Z_i
        \big\Vert_2^2, \qquad \epsilon \sim \mathcal{N}(0, 1)

    P is a 1x1 convolution with batch normalization. :math:`Z` are the teacher's features, or with ``latent_channels``
    their code in a linear autoencoder. Denoiser and autoencoder are models of the teacher, so they learn from
    :meth:`inner_objective` only, at the same steps as the student. If they learned from the value, they would
    compensate for the student. If their objective were part of the value, its weight would set how fast they learn. The
    other layers learn from the value.

    The student's void positions are set to zero before all layers, so their content has no effect. Convolutions at the
    edge of a valid region still read void positions, and batch normalization, which always uses the batch's statistics,
    includes them.

    Args:
        student_channels: Number of channels of the student's features.
        teacher_channels: Number of channels of the teacher's features.
        latent_channels: Number of channels of the autoencoder's code, at most teacher_channels. The released code uses
            1024 for 2048. None compares the teacher's features directly, without an autoencoder.
        steps: Number of denoising steps, spread over the cleaner half of the 1000 steps that the denoiser learns.
        generator: Random generator of all noise.
        ignore_index: Label of ignored positions.

    Raises:
        ValueError: For a hyperparameter out of range.

    Example:
        >>> import torch
        >>> from segdistill.losses import DiffKD
        >>> _ = torch.manual_seed(0)
        >>> loss = DiffKD(student_channels=4, teacher_channels=8)
        >>> student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 8, 8, 8)
        >>> round(loss(student, teacher).item(), 2)
        1.93

    Reference: Huang et al., NeurIPS 2023, https://arxiv.org/abs/2305.15712, following its code for image
    classification, but without its autoencoder by default; none was released for segmentation. Like here, that code
    mixes features and noise linearly, where diffusion would use :math:`\sqrt\gamma` and :math:`\sqrt{1 - \gamma}`. It
    trains everything with the student's optimizer on the sum of all objectives, so the denoiser also learns from the
    value, and it has a second pipeline, for logits.
    """

    equal_channels = False
    mean_over = "pixels"

    left: Tensor

    @checked
    def __init__(
        self,
        *,
        student_channels: Count,
        teacher_channels: Count,
        latent_channels: Count | None = None,
        steps: Annotated[int, Range(f"from 1 to {STEPS // 2}", low=1, high=STEPS // 2)] = 5,
        generator: torch.Generator | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        latent = teacher_channels if latent_channels is None else latent_channels
        if latent > teacher_channels:
            raise ValueError(f"latent_channels must be at most teacher_channels={teacher_channels}, got {latent}")
        self.student_channels = student_channels
        self.teacher_channels = teacher_channels
        self.steps = steps
        self.generator = generator
        self.ignore_index = ignore_index
        self.connector = nn.Conv2d(student_channels, latent, 1)
        self.noise_adapter = nn.Sequential(
            Bottleneck(latent, reduction=8), nn.AdaptiveAvgPool2d(1), nn.Conv2d(latent, 1, 1), nn.Sigmoid()
        )
        self.projector = nn.Sequential(nn.Conv2d(latent, latent, 1, bias=False), batch_norm(latent))
        self.denoiser = Denoiser(latent)
        self.register_buffer("left", torch.tensor(LEFT), persistent=False)
        self.encoder: nn.Module = nn.Identity()
        self.decoder: nn.Module = nn.Identity()
        if latent_channels is not None:
            self.encoder = nn.Sequential(nn.Conv2d(teacher_channels, latent, 1, bias=False), batch_norm(latent))
            self.decoder = nn.Conv2d(latent, teacher_channels, 1)

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar. It passes no gradient to denoiser and autoencoder.

        Args:
            student: Features, shape (N, student_channels, H, W).
            teacher: Features, shape (N, teacher_channels, H, W); no gradient reaches it.
            labels: Class indices, shape (N, H', W'); None counts every position.

        Raises:
            ValueError: If N, H or W differ, or the channels are not those of the constructor.
        """
        return _distance(student, teacher, labels, loss=self)

    def inner_objective(self, student: Tensor | None, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the sum of the mean squared errors of the predicted noise and of the reconstructed features.

        Args:
            student: Not used: denoiser and autoencoder are models of the teacher.
            teacher: Features, shape (N, teacher_channels, H, W).
            labels: Not used: the teacher has features at void positions too.
        """
        return _model_error(teacher, teacher, loss=self)

    def inner_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the denoiser and the autoencoder."""
        for part in (self.denoiser, self.encoder, self.decoder):
            yield from part.parameters()

    def inner_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam with learning rate 1e-3, which suits features of any scale: a choice made here."""
        return torch.optim.Adam(self.inner_parameters(), lr=1e-3)


@loss_function
def _distance(student: Tensor, teacher: Tensor, labels: Tensor | None, *, loss: DiffKD) -> Tensor:
    check_shapes(student, teacher, any_channels=True)
    check_channels(student, teacher, student_channels=loss.student_channels, teacher_channels=loss.teacher_channels)
    valid = valid_at(labels, student, loss.ignore_index)
    with torch.no_grad():
        target = call_in_dtype(loss.encoder, teacher)
    features = call_in_dtype(loss.connector, zero_void(student, valid))
    share = call_in_dtype(loss.noise_adapter, features)  # (N, 1, 1, 1)
    noise = random_on(torch.randn, features.shape, generator=loss.generator, device=features.device)
    noisy = share * features + (1 - share) * noise
    clean = denoised(noisy, lambda maps, step: call_in_dtype(loss.denoiser, maps, step, learns=False), loss.steps)
    return masked_mean((call_in_dtype(loss.projector, clean) - target).square().mean(dim=1), valid)


@loss_function
def _model_error(_: Tensor, teacher: Tensor, *, loss: DiffKD) -> Tensor:
    code = call_in_dtype(loss.encoder, teacher)
    reconstruction_error = F.mse_loss(call_in_dtype(loss.decoder, code), teacher)
    clean = code.detach()
    noise = random_on(torch.randn, clean.shape, generator=loss.generator, device=clean.device).to(clean)
    step = random_on(torch.randint, STEPS, (len(clean),), generator=loss.generator, device=clean.device)
    left = loss.left.to(clean.dtype)[step, None, None, None]
    noisy = left.sqrt() * clean + (1 - left).sqrt() * noise
    return F.mse_loss(call_in_dtype(loss.denoiser, noisy, step), noise) + reconstruction_error
