"""Small networks for tests: one per kind of output."""

from collections import OrderedDict

from torch import Tensor, nn


def sequential(classes: int = 4, width: int = 8, stride: int = 4) -> nn.Sequential:
    """A hand-written network, stride 4, that returns a tensor."""
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, width, 3, stride=stride, padding=1),
            norm=nn.BatchNorm2d(width),
            act=nn.ReLU(inplace=True),
            drop=nn.Dropout2d(0.5),
            classify=nn.Conv2d(width, classes, 1),
        )
    )


class WithAux(nn.Module):
    """Returns a dict with "out" and "aux", as torchvision's networks do."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.classifier = nn.Conv2d(8, classes, 1)
        self.aux_classifier = nn.Conv2d(8, classes, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        return {"out": self.classifier(features), "aux": self.aux_classifier(features)}


def small(num_classes: int) -> nn.Module:
    """The student of tiny runs."""
    return sequential(num_classes, width=6)


def large(num_classes: int) -> nn.Module:
    """The teacher of tiny runs."""
    return sequential(num_classes, width=12)


def plain(num_classes: int) -> nn.Sequential:
    """A network without batch statistics, whose gradient on a batch is the mean of that on its parts."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(6, num_classes, 1))


def pooled(num_classes: int) -> nn.Sequential:
    """A network with batch norm behind global pooling, which cannot train on one image."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=4, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.BatchNorm2d(6),
        nn.Upsample((8, 8)),
        nn.Conv2d(6, num_classes, 1),
    )


class Fixed(nn.Module):
    """A network that takes images of 16x24 pixels only."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (16, 24):
            raise AssertionError("expected 16x24.\nA second line")
        return self.conv(images)
