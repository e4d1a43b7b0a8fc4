"""Peak of the memory that a piece of work allocates, beyond the memory that is allocated when it begins."""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # before PyTorch is imported: its profiler prints to the screen

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import Work


def peak_megabytes(work: Work, device: str) -> float:
    """Return the peak of PyTorch's allocations, in MB of 2**20 bytes.

    On CUDA the allocator counts; on a CPU the profiler records every allocation. Both count the bytes that tensors and
    workspaces ask for, so the figure repeats exactly.
    """
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / 2**20
