"""Distill in a plain PyTorch loop. Student and teacher may be any networks; random images stand in for a data set."""

from functools import partial

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

from segdistill import Distiller, Term, losses

CLASSES = 5


def small_network() -> nn.Module:
    """Return a hand-written network with stride 4."""
    return nn.Sequential(nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.ReLU(inplace=True), nn.Conv2d(16, CLASSES, 1))


def train(student: nn.Module, teacher: nn.Module, steps: int = 2) -> list[float]:
    """Train the student for a few steps; return the total loss of each."""
    terms = {
        "kd": Term(losses.KD()),
        "gskd": Term(losses.GSKD(), on="head", labels="teacher_correct", weight=10.0),
    }
    distiller = Distiller(student, teacher, terms)
    print(distiller.wiring())
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
    """Train three pairs: networks that return a tensor, a dict, or are written by hand."""
    deeplab = partial(deeplabv3_resnet50, weights=None, weights_backbone=None, num_classes=CLASSES)
    unet = partial(smp.Unet, "resnet18", encoder_weights=None, classes=CLASSES)
    for student, teacher in ((unet(), deeplab()), (small_network(), unet()), (deeplab(), small_network())):
        print(type(student).__name__, "from", type(teacher).__name__)
        print("total loss:", train(student, teacher), end="\n\n")


if __name__ == "__main__":
    main()
