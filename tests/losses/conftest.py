"""Comparison with the reference numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Loss = Callable[..., Tensor]
Golden = Callable[[str], dict[str, Tensor]]


@pytest.fixture
def agrees_with_golden(golden: Golden) -> Callable[..., None]:
    """Compare a loss's value and gradient with a file's, at the file's precision."""

    def check(name: str, loss: Loss, *, kind: str = "logits", labels: bool = False, times: float = 1.0) -> None:
        data = golden(name)
        student = data[f"student_{kind}"].requires_grad_()
        value = loss(student, data[f"teacher_{kind}"], data["labels"] if labels else None) * times
        value.backward()
        double = student.dtype == torch.float64
        torch.testing.assert_close(value, data["loss"], rtol=1e-9 if double else 1e-5, atol=0)
        expected = data[f"grad_student_{kind}"]
        largest = expected.abs().max().item()
        torch.testing.assert_close(student.grad, expected, rtol=0, atol=(1e-9 if double else 1e-4) * largest)

    return check
