"""Files of pictures to segment and of their results. Without PyTorch, so that a wrong path is reported at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segdistill.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def pictures_in(images: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return the pictures to segment, by the path of their results without ``_labels.png`` and ``_overlay.png``.

    Raises:
        UserError: A picture does not exist, a folder has none, two pictures would have the same results, or a result
            would overwrite a picture or be outside ``out``.
    """
    files: dict[Path, Path] = {}

    def add(target: Path, file: Path) -> None:
        if target in files:
            raise UserError(f"{files[target]} and {file} would both be written to {target}_*.png; use two commands")
        files[target] = file

    for path in images:
        if path.is_dir():
            if path.resolve() == out.resolve():
                raise UserError(f"--out is the folder of the pictures, {path}; give another folder")
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            inside = [file for file in inside if not _is_result(file, out)]
            if not inside:
                raise UserError(f"no pictures in {path}; looked for {', '.join(SUFFIXES)}")
            for file in inside:
                add(out / file.relative_to(path).with_suffix(""), file)
        elif path.is_file():
            if not _is_result(path, out):
                add(out / path.stem, path)
        else:
            raise UserError(f"no such picture or folder: {path}")
    _check_targets(files, out)
    return files


def results_of(target: Path) -> tuple[Path, Path]:
    """Return the files of the labels and of the overlay."""
    return target.with_name(f"{target.name}_labels.png"), target.with_name(f"{target.name}_overlay.png")


def _is_result(file: Path, out: Path) -> bool:
    """Return True if a picture in ``out`` is the result of an earlier prediction, which writes pairs of files."""
    if not file.resolve().is_relative_to(out.resolve()):
        return False
    name, _, kind = file.stem.rpartition("_")
    return (
        bool(name)
        and kind in ("labels", "overlay")
        and all(each.is_file() for each in results_of(file.with_name(name)))
    )


def _check_targets(files: Mapping[Path, Path], out: Path) -> None:
    """Raise if a result would overwrite a picture, or be written through a link to another folder."""
    pictures = {file.resolve(): file for file in files.values()}
    for target, file in files.items():
        for written in results_of(target):
            if written.parent.resolve() / written.name in pictures:
                raise UserError(f"the results of {file} would overwrite the picture {written}; give another --out")
        for folder in target.parents[: len(target.parents) - len(out.parents) - 1]:
            if folder.is_symlink():
                raise UserError(f"{folder} is a link and leads out of --out {out}; remove it, or give another --out")
