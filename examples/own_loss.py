"""Distill with a loss of your own: a function, and a module with hyperparameters."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill import Distiller, Term, losses


def edge_loss(student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
    """Match the horizontal changes of the class scores."""
    return F.l1_loss(student.diff(dim=-1), teacher.diff(dim=-1))


class CosineLoss(nn.Module):
    """Match the direction of the feature at every pixel, raised to a power."""

    equal_channels = True  # the Distiller adds a 1x1 convolution where channels differ
    mean_over = "images"  # the mean counts images; used to weight the parts of an accumulated step

    def __init__(self, *, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the mean distance, a scalar."""
        return (1 - F.cosine_similarity(student, teacher, dim=1)).clamp(min=1e-6).pow(self.power).mean()


def network(width: int) -> nn.Module:
    """Return a small network for four classes."""
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 4, 1))


def main() -> None:
    """Overfit one batch of random images."""
    torch.manual_seed(0)
    terms = {
        "kd": Term(losses.KD()),
        "edges": Term(edge_loss, weight=0.5),
        "cosine": Term(CosineLoss(power=2.0), on="head"),
    }
    distiller = Distiller(network(8), network(32), terms)
    print(distiller.wiring())
    optimizer = torch.optim.Adam(distiller.parameters(), lr=0.01)
    images, labels = torch.randn(2, 3, 32, 32), torch.randint(4, (2, 32, 32))
    for step in range(1, 41):
        out = distiller(images, labels)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()
        if step in (1, 40):
            print(f"step {step}:", {name: round(value.item(), 4) for name, value in out.terms.items()})


if __name__ == "__main__":
    main()
