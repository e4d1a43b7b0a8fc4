"""Jobs that write a folder for a model hub, and push it."""

from pathlib import Path

from rich.console import Console

from segdistill.hub.facts import read_facts
from segdistill.hub.layouts import layout_of
from segdistill.hub.license import check_license
from segdistill.hub.push import check_push
from segdistill.hub.push import push as upload
from segdistill.hub.target import check_target
from segdistill.jobs.checks import check_run_folder
from segdistill.jobs.threads import idle_threads
from segdistill.system.terminal import open_console


def hub(
    folder: str | Path,
    *,
    license: str | None = None,
    out: str | Path | None = None,
    console: Console | None = None,
) -> Path:
    """Write a run's student as a folder for a model hub, and return the folder.

    The command ``segdistill hub`` calls this function. No code that the run names is imported.

    Args:
        folder: The folder of the run.
        license: The license of the weights, such as ``"apache-2.0"``. It has no default.
        out: The folder to write, missing or empty; by default ``hub`` in the run's.
        console: The console to print on; by default standard output.

    Raises:
        UserError: No license, a run that is not finished, or a folder that has content.
    """
    chosen, folder, console = check_license(license), Path(folder), console or open_console()
    target = Path(out) if out is not None else folder / "hub"
    check_run_folder(folder)
    facts = read_facts(folder)
    check_target(target)
    with idle_threads():
        from segdistill.hub.folder import write_folder

        write_folder(facts, chosen, target)
    for file in sorted(target.iterdir()):
        console.print(f"{file.name}  {file.stat().st_size / 1e6:.2f} MB", soft_wrap=True)
    console.print(f"{target}: layout of {layout_of(facts.recipe.student.model)}, license {chosen}", soft_wrap=True)
    console.print(f"read README.md, then: segdistill push {target} ORG/NAME", soft_wrap=True)
    return target


def push(folder: str | Path, name: str, *, private: bool = False, console: Console | None = None) -> str:
    """Upload a folder that :func:`hub` has written, and return the address of the repository.

    The command ``segdistill push`` calls this function.

    Args:
        folder: The folder.
        name: The repository, ``org/name``; created if needed.
        private: Whether a new repository is private.
        console: The console to print on; by default standard output.

    Raises:
        UserError: Another folder, a malformed name, or an upload that fails.
    """
    folder, console = Path(folder), console or open_console()
    check_push(folder, name)
    address = upload(folder, name, private=private)
    console.print(address, soft_wrap=True)
    return address
