"""Where and how the contract is tested, and the comparison with the golden numbers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

Loss = Callable[..., Tensor]
Golden = Callable[[str], dict[str, Tensor]]

DTYPES = ("float32", "float64", "bfloat16")  # float16 needs a loss scale, and has a test with scales


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the axes of tests/losses/test_contract.py."""
    group = parser.getgroup("contract of the losses")
    group.addoption("--device", default="cpu", help="Device of the losses and their inputs, such as cuda.")
    group.addoption("--dtype", default="float32", choices=DTYPES, help="Type of the inputs.")
    group.addoption("--compile", default="eager", metavar="BACKEND", help="Backend of torch.compile, such as inductor.")


@pytest.fixture(scope="session")
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Device, dtype and compiler backend from the command line, as fields of a Case."""
    # Pytest reads these options only where its arguments include this folder.
    return {
        "device": request.config.getoption("--device", "cpu"),
        "dtype": getattr(torch, request.config.getoption("--dtype", "float32")),
        "backend": request.config.getoption("--compile", "eager"),
    }


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
