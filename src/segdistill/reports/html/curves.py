"""Curves of a training, from the lines of metrics.jsonl."""

from collections.abc import Iterable, Sequence
from typing import Any

Points = tuple[tuple[int, float], ...]

# The largest number of points of a curve in a page: a chart is about 300 pixels wide.
MOST = 300

# Names in a line of the split "train" that are no terms.
NO_TERMS = ("step", "split", "loss", "learning_rate")


def curve(lines: Iterable[dict[str, Any]], split: str, name: str, *, factor: float = 1.0) -> Points:
    """Return the values of one name in the lines of a split, at most :data:`MOST`, the first and last among them."""
    points = [(line["step"], factor * line[name]) for line in lines if line.get("split") == split and _has(line, name)]
    return thinned(points)


def names_in(lines: Iterable[dict[str, Any]], split: str) -> tuple[str, ...]:
    """Return the names of numbers in the lines of a split, in order of first appearance."""
    names = (name for line in lines if line.get("split") == split for name in line if _has(line, name))
    return tuple(name for name in dict.fromkeys(names) if name != "step")


def terms_in(lines: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the names of the terms, the task first if there is one."""
    names = [name for name in names_in(lines, "train") if name not in NO_TERMS and "/" not in name]
    return tuple(sorted(names, key=lambda name: name != "task"))


def thinned(points: Sequence[tuple[int, float]], most: int = MOST) -> Points:
    """Return at most ``most`` of the points, spread evenly, with the first and the last."""
    if len(points) <= most:
        return tuple(points)
    return tuple(points[round(index * (len(points) - 1) / (most - 1))] for index in range(most))


def _has(line: dict[str, Any], name: str) -> bool:
    value = line.get(name)
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
