"""What is random in a step depends on the run's seed, the step and the process alone, so a resumed run repeats it."""

import torch


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed everything that a step draws from. Steps before the student's first are negative."""
    # Knuth's multiplicative constants keep neighbouring steps apart.
    torch.manual_seed((seed * 2_654_435_761 + step * 40_503 + rank * 97) % 2**63)
