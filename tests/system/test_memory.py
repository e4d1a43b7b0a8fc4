"""Lack of memory is told in one line, with what helps."""

import pytest
import torch

from segdistill.errors import UserError
from segdistill.system.memory import enough_memory, lacks_memory

# The first line of PyTorch 2.11 on a GPU.
CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139.81 GiB of which 1.12 GiB is "
    "free. Including non-PyTorch memory, this process has 138.68 GiB memory in use."
)


def test_the_line_has_what_was_asked_for_and_the_remedy() -> None:
    with pytest.raises(UserError) as caught, enough_memory("step 7", "lower it"):
        raise torch.OutOfMemoryError(CUDA)
    assert str(caught.value) == (
        "step 7 needs more memory than there is (CUDA out of memory. Tried to allocate 2.50 GiB); lower it"
    )


def test_a_cpu_without_memory_is_told_too() -> None:
    words = "step 7 needs more memory.*tried to allocate 4000000000000000 bytes"
    with pytest.raises(UserError, match=words), enough_memory("step 7", "wait"):
        torch.empty(10**15)


def test_other_errors_pass() -> None:
    assert not lacks_memory(RuntimeError("the size of tensor a must match"))
    with pytest.raises(RuntimeError, match="the size"), enough_memory("a step", "wait"):
        raise RuntimeError("the size of tensor a must match")
