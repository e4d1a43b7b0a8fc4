"""Rows of a comparison that are the student alone: no distilled student, and never the best of them."""

import re
from collections.abc import Mapping

# A distillation term with a smaller weight leaves the student alone: such a row controls for what the teacher's pass
# changes otherwise.
LEAST_WEIGHT = 1e-6


def is_alone(row: str, named: Mapping[str, str]) -> bool:
    """Return whether a row is the student alone: its method is ``none``, and its changes add no term of any weight.

    Args:
        row: The name of the row, or its method as typed.
        named: For each row with a name, its method and changes as typed.
    """
    method, _, changes = str(named.get(row, row)).partition(":")
    if method.partition("@")[0] != "none":
        return False
    weights = [float(weight) for weight in re.findall(r"\bweight\s*[:=]\s*([\d.]+(?:[eE][-+]?\d+)?)", changes)]
    return not re.search(r"terms\.(?!task\b)", changes) or (bool(weights) and max(weights) < LEAST_WEIGHT)
