"""Distillation in a plain PyTorch loop: any networks, no engine, no recipe.

Three pairs that have nothing in common: torchvision's DeepLabV3 (returns a dict), an smp U-Net (returns a tensor) and
a hand-written nn.Sequential. Random images stand in for a data set.
"""

from functools import partial

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

from segdistill import Distiller, Term, losses

CLASSES = 5


def tiny() -> nn.Module:
    """A student written by hand, stride 4."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.Conv2d(16, CLASSES, 1)
    )


def distil(student: nn.Module, teacher: nn.Module, steps: int = 2) -> list[float]:
    """Train the student for a few steps; return the total loss of each."""
    distiller = Distiller(
        student,
        teacher,
        terms={
            "kd": Term(losses.KD()),
            "gskd": Term(losses.GSKD(), on="head", labels="teacher_correct", weight=10.0),
        },
    )
    print(distiller.wiring(), end="\n\n")
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.01, momentum=0.9)
    totals = []
    for _ in range(steps):
        images, labels = torch.randn(2, 3, 64, 64), torch.randint(CLASSES, (2, 64, 64))
        out = distiller(images, labels)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()
        totals.append(out.total.item())
    return totals


def main() -> None:
    """Run three pairs, each network once as the student."""
    deeplab = partial(deeplabv3_resnet50, weights=None, weights_backbone=None, num_classes=CLASSES)
    unet = partial(smp.Unet, "resnet18", encoder_weights=None, classes=CLASSES)
    for student, teacher in ((unet(), deeplab()), (tiny(), unet()), (deeplab(), tiny())):
        print(type(student).__name__, "from", type(teacher).__name__)
        print("total loss:", distil(student, teacher), end="\n\n")


if __name__ == "__main__":
    main()
