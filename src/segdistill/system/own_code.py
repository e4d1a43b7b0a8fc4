"""Digest of the source of a ``package.module:callable``, by which a change of a user's own code is noticed."""

import hashlib
import io
import sys
import tokenize
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from segdistill.system.importing import import_callable

_digests: WeakKeyDictionary[Any, dict[str, str | None]] = WeakKeyDictionary()
"""For each imported callable, the digest of its source by its name, when it was first asked for."""


def source_digest(path: str) -> str | None:
    """Return a digest of the file of a module, and of the file that defines the callable if it is another one.

    Comments, blank lines and spaces at the end of a line do not count. Modules that the files import do not count. The
    files are read once for each callable: one that is edited later does not change what this process has imported.

    Args:
        path: ``package.module:callable``.

    Returns:
        The digest; None if there is no file, as for code typed into a notebook, or if the import fails: building the
        network or loss raises that error.
    """
    try:
        target = import_callable(path, "code")
    except Exception:  # the module may raise anything
        return None
    known = _digests.setdefault(target, {})
    if path not in known:
        known[path] = _digest(path.partition(":")[0], target.__module__)
    return known[path]


def _digest(*modules: str) -> str | None:
    sources = []
    for name in dict.fromkeys(modules):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and Path(file).is_file():
            sources.append(_without_comments(Path(file).read_bytes()))
    return hashlib.sha256(b"\0".join(sources)).hexdigest() if sources else None


def _without_comments(source: bytes) -> bytes:
    """Return Python source without comments and blank lines; any other content, such as compiled code, unchanged."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        lines = io.StringIO(source.decode(encoding), newline=None).readlines()
        for token in tokenize.generate_tokens(iter(lines).__next__):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
        return source
    return "\n".join(stripped for line in lines if (stripped := line.rstrip())).encode()
