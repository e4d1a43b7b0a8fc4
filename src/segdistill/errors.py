"""Errors a user can mend. The command line prints them as one line and exits with status 2."""

from collections.abc import Iterable


class UserError(ValueError):
    """Names the thing, what was expected and the remedy, in one line."""


# What somebody's network or loss raises when it is given what it cannot take.
FOREIGN = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)


def first_line(error: Exception) -> str:
    """Return what an error says in its first line; its kind where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


class Stopped(Exception):  # noqa: N818, it is no error
    """Ctrl-C or SIGTERM took effect, after a checkpoint was written."""


def unknown(kind: str, name: str, choices: Iterable[str], *, hint: str = "") -> UserError:
    """Return the error for a name that is not among ``choices``: the nearest one, or all of them.

    Args:
        kind: What the name should have been, for instance ``"loss"``.
        name: What was given.
        choices: The names there are.
        hint: Where to look for more, appended to the message.
    """
    names = sorted(choices)
    near = nearest(name, names)
    if near:
        remedy = f"did you mean '{near}'?"
    else:
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        remedy = f"there are: {shown}" if names else "there are none"
    return UserError(f"unknown {kind} '{name}'; {remedy}{' ' + hint if hint else ''}")


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that ``name`` was most likely meant to be; None where none is near.

    Near are a slip in at most every third letter of a key's last part, and a key without what stands before or after
    it: ``batch_size`` for ``train.batch_size``, ``cwd`` for ``cwd_logits``.
    """
    last = name.rpartition(".")[2]
    found = []
    for choice in sorted(choices):
        other = choice if "." in name else choice.rpartition(".")[2]
        slips = 0 if choice.startswith(f"{name}_") else _slips(name, other)
        if slips <= max(1, len(last) // 3) and slips < len(last):
            found.append((slips, choice.count("."), choice))
    return min(found)[-1] if found else None


def _slips(one: str, other: str) -> int:
    """Count the letters that are missing, wrong, too many, or changed places with their neighbor."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, theirs in enumerate(other, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != theirs))
            if i > 1 and j > 1 and (one[i - 2], letter) == (theirs, other[j - 2]):
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
