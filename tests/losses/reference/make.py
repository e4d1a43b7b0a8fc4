"""Make the golden files from clones of the authors' repositories, or compare with golden files that exist.

python -m tests.losses.reference.make                              list what to clone
python -m tests.losses.reference.make --repos CLONES --out GOLDEN  make the files of all clones in CLONES
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from tests.losses.reference import (
    aicsd,
    cirkd,
    cirkd_memory,
    connectors,
    dsd,
    masks,
    relations,
    rep_distiller,
)
from tests.losses.reference.case import Case
from tests.losses.reference.golden import difference, read, write
from tests.losses.reference.release import Release
from tests.losses.reference.repositories import Repository

PARTS = (cirkd, cirkd_memory, dsd, rep_distiller, aicsd, relations, connectors, masks)
CASES: list[Case] = [case for part in PARTS for case in part.CASES]
REPOSITORIES: list[Repository] = list(dict.fromkeys(case.repository for case in CASES))


def catalogue() -> str:
    """Return every repository, its commit, its license and the files that its code gives."""
    lines = []
    for repository in REPOSITORIES:
        names = ", ".join(case.name for case in CASES if case.repository == repository)
        lines += [
            f"git clone {repository.url}  # at {repository.commit}; license: {repository.license}",
            f"    {names}",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=Path, help="folder of the clones, each named as its repository")
    parser.add_argument("--out", type=Path, help="folder for the golden files")
    parser.add_argument("--inputs", type=Path, help="golden files to take the inputs from and to compare with")
    parser.add_argument("--only", default="", help="a part of the names of the files to make")
    options = parser.parse_args()
    if options.repos is None:
        print(catalogue())
        return
    for case in (case for case in CASES if options.only in case.name):
        print(f"{case.name}: {one(case, options.repos, options.out, options.inputs)}")


def one(case: Case, repos: Path, out: Path | None, given: Path | None) -> str:
    """Make one file; return the outcome in words."""
    clone = repos / case.repository.name
    if not clone.exists():
        return f"left out, {clone} is not there: git clone {case.repository.url}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            release = Release(case.repository, clone, Path(folder))
        except subprocess.CalledProcessError as error:
            return f"left out: {error.stderr.decode().strip()}"
        golden_file = None if given is None else given / f"{case.name}.npz"
        inputs, golden = (case.draw(), {}) if golden_file is None else read(golden_file, case)
        try:
            results = case.run(release, inputs)
        except ModuleNotFoundError as error:
            return f"left out, its code needs the Python module {error.name}, which is not installed"
    if out is not None:
        write(out / f"{case.name}.npz", inputs | results)
    return f"largest difference {difference(results, golden):.1e}" if golden else f"loss {results['loss'].item():.6g}"


if __name__ == "__main__":
    main()
