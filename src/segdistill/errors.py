"""Errors a user can mend. The command line prints them as one line and exits with status 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Names the thing, what was expected and the remedy, in one line."""


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
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        remedy = f"did you mean '{near[0]}'?"
    else:
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        remedy = f"there are: {shown}" if names else "there are none"
    return UserError(f"unknown {kind} '{name}'; {remedy}{' ' + hint if hint else ''}")
