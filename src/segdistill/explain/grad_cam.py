"""Grad-CAM: where in the image a feature supports a class."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from segdistill.distillation.features import FeatureReader
from segdistill.distillation.modes import evaluating
from segdistill.errors import UserError
from segdistill.losses._ops import labels_at


def grad_cam(
    network: nn.Module, images: Tensor, labels: Tensor, classes: Sequence[int], *, feature: str = "head"
) -> Tensor:
    r"""Return the Grad-CAM map of each class.

    With the feature A of channels a, and the score :math:`y_k` of class k, which is the sum of its logits over the
    positions with label k,

    .. math:: L_k = \mathrm{ReLU}\Big( \sum_a \alpha_{ka} A_a \Big), \quad
        \alpha_{ka} = \frac{1}{hw} \sum_{i,j} \frac{\partial y_k}{\partial A_{aij}}

    The maps are not scaled: divide a map by its maximum to compare networks.

    Args:
        network: Any network; its mode and gradients stay as they are.
        images: Normalized images, shape (N, 3, H, W).
        labels: Class indices, shape (N, H', W'), resized to the logits by nearest neighbor. The same labels for two
            networks make their maps comparable.
        classes: The classes to explain, K indices.
        feature: The name of a feature, as in a Term.

    Returns:
        The maps, shape (N, K, h, w) with the height and width of the feature. A class without a position is 0.

    Raises:
        UserError: The network has no such feature, it is not a map, or the logits do not depend on it.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from segdistill.explain.grad_cam import grad_cam
        >>> network = nn.Sequential(nn.Identity(), nn.Conv2d(3, 2, 1, bias=False))
        >>> with torch.no_grad():
        ...     _ = network[1].weight.copy_(torch.tensor([[1.0, 0, 0], [0, -1, 0]]).view(2, 3, 1, 1))
        >>> image = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 1, 2)
        >>> labels = torch.tensor([[[0, 1]]])
        >>> grad_cam(network, image, labels, [0, 1], feature="0")  # half of the positions have each label
        tensor([[[[0.5000, 0.5000]],
        <BLANKLINE>
                 [[0.0000, 0.0000]]]])

    Reference: Selvaraju et al., Grad-CAM, Eq. 1-2, https://arxiv.org/abs/1610.02391; summed over positions as in
    Vinogradova et al., https://arxiv.org/abs/2002.11434. Park et al., GSKD, draw it in Figure 6.
    """
    with evaluating(network), _out_of_place(network), torch.enable_grad():
        reader = FeatureReader(network, [feature], images)
        # A leaf that requires a gradient, so that frozen networks have a graph; the copy, because a network may change
        # its input in place.
        features = reader(images.detach().clone().requires_grad_().clone())
        maps, logits = features[feature], features["logits"]
        if maps.dim() != 4 or logits.dim() != 4:
            raise UserError(f"feature '{feature}' is {tuple(maps.shape)}; Grad-CAM needs a map (N, channels, h, w)")
        known = labels_at(labels, logits)
        found = [_map(logits[:, index] * (known == index), maps, feature) for index in classes]
    return torch.stack(found, dim=1) if found else maps.new_zeros(len(maps), 0, *maps.shape[2:]).detach()


@contextmanager
def _out_of_place(network: nn.Module) -> Iterator[None]:
    """Let dropout return new tensors: a reader copies every feature of a network with in-place dropout.

    A copy is not on the way from the feature to the logits, so it has no gradient.
    """
    changed = [each for each in network.modules() if isinstance(each, _DropoutNd) and each.inplace]
    for each in changed:
        each.inplace = False
    try:
        yield
    finally:
        for each in changed:
            each.inplace = True


def _map(scores: Tensor, maps: Tensor, feature: str) -> Tensor:
    (gradient,) = torch.autograd.grad(scores.sum(), maps, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise UserError(
            f"the logits do not depend on feature '{feature}', or a later module overwrites it in place; name another "
            "feature (segdistill taps MODEL lists them all)"
        )
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * maps.detach()).sum(dim=1).relu()
