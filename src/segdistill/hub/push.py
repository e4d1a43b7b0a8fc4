"""Upload of a hub folder. This module does not import PyTorch, and huggingface_hub only to upload."""

import re
from pathlib import Path

from segdistill.errors import UserError, first_line

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def check_push(folder: Path, name: str) -> None:
    """Raise unless ``segdistill hub`` has written the folder, and the name is of the form ``org/name``.

    Raises:
        UserError: Either is not so.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"the repository must have the form org/name, as in my-team/student, got {name[:80]!r}")
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    if not (text.startswith("---\n") and "\nlibrary_name: " in text):
        raise UserError(
            f"{folder} holds no README.md with a model card; write the folder first: segdistill hub RUN --license NAME"
        )


def push(folder: Path, name: str, *, private: bool) -> str:
    """Create a repository if needed, upload the folder, and return the address.

    Raises:
        UserError: No package, no token, no network, or a name that the hub rejects.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError('push needs the package huggingface_hub: pip install "segdistill[all]"') from None
    api = HfApi()
    try:
        address = api.create_repo(name, exist_ok=True, private=private or None)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload with segdistill")
    except Exception as error:  # its errors, httpx's, and those of the system, for which there is no common base
        reason = first_line(error).rstrip(".")
        raise UserError(
            f"cannot push {folder} to {name}: {reason}; check the network and the token (hf auth login, or HF_TOKEN), "
            "which must permit writing"
        ) from error
    return str(address)
