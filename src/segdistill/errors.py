"""Errors that a user can fix. The command line prints them as one line and exits with status 2."""

from collections.abc import Iterable


class UserError(ValueError):
    """An error whose message is one line that names the thing, what was expected and the remedy."""


# The exceptions that a user's network or loss raises for an input that it cannot take.
FOREIGN = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message that has text, or the name of its type if there is none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def few(items: Iterable[object], most: int, by: str = ", ") -> str:
    """Return the first ``most`` items as text, and how many there are besides: ``a, b and 3 more``."""
    texts = [str(item) for item in items]
    rest = len(texts) - most
    return by.join(texts[:most]) + (f"{by.rstrip(', ')} and {rest} more" if rest > 0 else "")


class Stopped(Exception):  # noqa: N818, it is not an error
    """Raised when Ctrl-C or SIGTERM has stopped the run and a checkpoint is written."""


def unknown(kind: str, name: str, choices: Iterable[str], *, hint: str = "") -> UserError:
    """Return the error for a name that is not in ``choices``, which suggests the nearest choice or lists them.

    Args:
        kind: The kind of thing that is named, for instance ``"loss"``.
        name: The name that was given.
        choices: The valid names.
        hint: Where to find more, appended to the message.
    """
    names = sorted(choices)
    near = nearest(name, names)
    there = f"there are: {few(names, 12)}" if names else "there are none"
    remedy = f"did you mean '{near}'?" if near else there
    return UserError(f"unknown {kind} '{name}'; {remedy}{' ' + hint if hint else ''}")


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that ``name`` was most likely meant to be, or None if none is near.

    A choice is near if it differs by at most one edit for every three letters of the last part of ``name``. A part of a
    key is also near: ``batch_size`` for ``train.batch_size``, ``cwd`` for ``cwd_logits``.
    """
    last = name.rpartition(".")[2]
    candidates = []
    for choice in sorted(choices):
        other = choice if "." in name else choice.rpartition(".")[2]
        slips = 0 if choice.startswith(f"{name}_") else _slips(name, other)
        if slips <= max(1, len(last) // 3) and slips < len(last):
            candidates.append((slips, choice.count("."), choice))
    return min(candidates)[-1] if candidates else None


def _slips(one: str, other: str) -> int:
    """Return the edit distance: the number of letters that are missing, wrong, extra, or swapped with a neighbor."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, other_letter in enumerate(other, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other_letter))
            if i > 1 and j > 1 and (one[i - 2], letter) == (other_letter, other[j - 2]):
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
