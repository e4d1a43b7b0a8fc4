"""Distill with Lightning. Needs `pip install lightning`."""

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from segdistill import Distiller, Term, losses


class Distillation(lightning.LightningModule):
    """A LightningModule around a Distiller."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        terms = {"kd": Term(losses.KD()), "fitnet": Term(losses.FitNet(), on="head")}
        self.distiller = Distiller(student, teacher, terms)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the total loss of a batch."""
        self.distiller.progress = self.global_step / self.trainer.estimated_stepping_batches  # for weight schedules
        out = self.distiller(*batch)
        self.log_dict({"total": out.total, **out.terms})
        return out.total

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer of the student, the adapters and the losses."""
        return torch.optim.SGD(self.distiller.parameters(), lr=0.01, momentum=0.9)


def network(width: int) -> nn.Module:
    """Return a small network for four classes."""
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 4, 1))


def main() -> None:
    """Train on eight random images."""
    module = Distillation(network(8), network(16))
    data = TensorDataset(torch.randn(8, 3, 32, 32), torch.randint(4, (8, 32, 32)))
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(module, DataLoader(data, batch_size=2))
    print("total loss:", trainer.callback_metrics["total"].item())


if __name__ == "__main__":
    main()
