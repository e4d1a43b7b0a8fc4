"""Distill with Hugging Face Accelerate. Needs `pip install accelerate`."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from segdistill import Distiller, Term, losses


def network(width: int) -> nn.Module:
    """Return a small network for four classes."""
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 4, 1))


def main() -> None:
    """Train on eight random images."""
    accelerator = Accelerator()
    terms = {"kd": Term(losses.KD()), "fitnet": Term(losses.FitNet(), on="head")}
    distiller = Distiller(network(8), network(16), terms)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.01, momentum=0.9)
    data = TensorDataset(torch.randn(8, 3, 32, 32), torch.randint(4, (8, 32, 32)))
    loader = DataLoader(data, batch_size=2)
    # Prepare the Distiller, not the student: it moves the teacher too.
    distiller, optimizer, loader = accelerator.prepare(distiller, optimizer, loader)
    for images, labels in loader:
        out = distiller(images, labels)
        optimizer.zero_grad()
        accelerator.backward(out.total)
        optimizer.step()
        accelerator.print("total loss:", out.total.item())


if __name__ == "__main__":
    main()
