"""Seeds of steps. They depend only on the run's seed, the step and the process, so a resumed run repeats them."""

import torch


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed PyTorch for a step. The steps of a first stage, before the student's first, are negative."""
    # Knuth's multiplicative constants separate the seeds of neighboring steps.
    torch.manual_seed((seed * 2_654_435_761 + step * 40_503 + rank * 97) % 2**63)
