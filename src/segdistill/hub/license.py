"""The license of a model card. It is always given by the user. This module does not import PyTorch."""

import re

from segdistill.errors import UserError

# The identifiers that the hub knows (https://huggingface.co/docs/hub/repositories-licenses). A card with another
# license has `license: other` and the name, or the hub rejects it.
KNOWN = """
afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0
c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 creativeml-openrail-m
ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 lppl-1.3c mit mpl-2.0 ms-pl ncsa
odbl ofl-1.1 openrail osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib
"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


def check_license(name: str | None) -> str:
    """Return the license's identifier in small letters.

    Raises:
        UserError: None is given, or it is not an identifier.
    """
    if name is None:
        raise UserError(
            "the license of the weights is yours to choose: give --license NAME, as in --license apache-2.0, or "
            "--license other"
        )
    if not _NAME.fullmatch(name):
        raise UserError(f"--license must be an identifier such as apache-2.0 or cc-by-nc-4.0, got {name[:60]!r}")
    return name.lower()


def license_keys(identifier: str) -> dict[str, str]:
    """Return the keys of a model card for a license."""
    if identifier in KNOWN.split():
        return {"license": identifier}
    return {"license": "other", "license_name": identifier}
