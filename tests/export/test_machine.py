"""The processor's name and instructions."""

from pathlib import Path

import pytest

from segdistill.export.machine import processor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name\t: AMD EPYC\nflags\t\t: fpu avx2 sse\n", "AMD EPYC (AVX2)"),
        ("model name\t: Xeon\nflags\t\t: avx2 avx512f avx512_vnni avx_vnni\n", "Xeon (AVX2, AVX-512, VNNI)"),
        ("model name\t: Old\nflags\t\t: fpu\n", "Old (no instructions for int8 known)"),
    ],
)
def test_processor(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(text)
    assert processor(tmp_path) == expected


def test_without_proc(tmp_path: Path) -> None:
    assert isinstance(processor(tmp_path), str)
