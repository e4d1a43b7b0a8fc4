"""Image classifiers."""

from torch import nn
from torchvision.models import get_model

from segdistill.models.wrapper import wrap


def resnet(name: str, num_classes: int) -> nn.Module:
    """Return torchvision's ResNet of that name, with logits of shape (N, C).

    It publishes the four stages and ``head``, the pooled features of shape (N, d). He et al., 2016,
    https://arxiv.org/abs/1512.03385.
    """
    network = get_model(name, weights=None, num_classes=num_classes)
    return wrap(network, roles={**{f"stage{i}": f"layer{i}" for i in range(1, 5)}, "head": "fc:input"})
