"""The peak of memory is that of the tensors alive at the same time."""

import torch

from benchmarks.memory import peak_megabytes

MEGABYTE = 2**18  # float32 values


def test_tensors_that_live_together_add_up() -> None:
    def work() -> None:
        one = torch.zeros(3 * MEGABYTE)
        other = torch.zeros(2 * MEGABYTE)
        del one, other

    assert peak_megabytes(work, "cpu") == 5


def test_a_freed_tensor_does_not_count() -> None:
    def work() -> None:
        torch.zeros(3 * MEGABYTE)
        torch.zeros(2 * MEGABYTE)

    assert peak_megabytes(work, "cpu") == 3


def test_tensors_from_before_do_not_count() -> None:
    before = torch.zeros(5 * MEGABYTE)
    assert peak_megabytes(lambda: before.add_(1), "cpu") < 0.01
