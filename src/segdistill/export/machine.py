"""The processor, whose instructions decide how much int8 gains."""

import platform
import re
from pathlib import Path

_INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "VNNI", "amx_int8": "AMX",
                 "asimddp": "dot product", "i8mm": "I8MM"}  # fmt: skip


def processor(root: Path = Path("/")) -> str:
    """Return the name of the processor and its instructions for int8, for instance ``"AMD EPYC 7B13 (AVX2)"``.

    Args:
        root: The folder of proc/.
    """
    try:
        text = (root / "proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
    found = set(flags[1].split()) if flags else set()
    known = dict.fromkeys(label for flag, label in _INSTRUCTIONS.items() if flag in found)
    return f"{name[1] if name else platform.machine()} ({', '.join(known) or 'no instructions for int8 known'})"
