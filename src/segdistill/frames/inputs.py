"""Images, videos and cameras to segment, by the names that a user gives. Without NumPy: wrong names are found at once.

The results of ``clip`` in the folder ``out`` are ``out/clip_overlay.png`` and ``out/clip_labels.png`` of a picture,
``out/clip_overlay.mp4`` and the folder ``out/clip_labels`` of a video.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from segdistill.errors import UserError
from segdistill.system.walk import files_below

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

VIDEOS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv",
    ".3gp", ".gif",
)  # fmt: skip

LEGEND = "legend.png"
LEGEND_TITLE = "segdistill: colors of classes"
"""The title in the file of a legend, by which a legend is told from a picture of that name."""


class Inputs(NamedTuple):
    """What to segment.

    Attributes:
        pictures, videos: Files by the path of their results without ``_labels`` and ``_overlay``.
        camera: The index of a camera. There is nothing else, then.
    """

    pictures: dict[Path, Path]
    videos: dict[Path, Path]
    camera: int | None = None


class Results(NamedTuple):
    """Files that are written for a picture or a video. The labels of a video are a folder."""

    labels: Path
    overlay: Path


def inputs_in(names: Sequence[str | Path], out: Path) -> Inputs:
    """Return what to segment. Results of an earlier prediction are left out.

    Args:
        names: Pictures, folders of pictures, videos, or the index of one camera.
        out: The folder of the results.

    Raises:
        UserError: A file does not exist, a folder has no picture, two files would have the same results, or a result
            would overwrite an input or a recording of a camera, or be outside ``out``.
    """
    cameras = [str(name) for name in names if str(name).isdecimal() and not Path(name).exists()]
    if cameras:
        if len(names) > 1:
            raise UserError(f"camera {cameras[0]} is segmented alone; give the other inputs in another command")
        camera = int(cameras[0])
        _check_camera(camera, camera_target(camera, out))
        _check_legend([], out)
        return Inputs({}, {}, camera)
    pictures: dict[Path, Path] = {}
    videos: dict[Path, Path] = {}
    for file, target in _files_of(names, out):
        other = pictures.get(target) or videos.get(target)
        if other is not None:
            if other.resolve() == file.resolve():
                raise UserError(f"{file} is given twice; give it once")
            remedy = "segment them in two commands with different --out"
            if other.parent == file.parent:
                remedy = f"rename one, or {remedy}"
            raise UserError(f"{other} and {file} would both be written to {target}_*; {remedy}")
        (videos if is_video(file) else pictures)[target] = file
    _check_targets(pictures, videos, out)
    _check_legend([*pictures.values(), *videos.values()], out)
    return Inputs(pictures, videos)


def is_video(file: Path) -> bool:
    """Return True if a file is a video by its suffix."""
    return file.suffix.lower() in VIDEOS


def results_of(target: Path, *, video: bool = False) -> Results:
    """Return the files that are written for a picture or a video."""
    labels, overlay = f"{target.name}_labels", f"{target.name}_overlay"
    if video:
        return Results(target.with_name(labels), target.with_name(f"{overlay}.mp4"))
    return Results(target.with_name(f"{labels}.png"), target.with_name(f"{overlay}.png"))


def camera_target(index: int, out: Path) -> Path:
    """Return the path of a camera's results, without ``_overlay``. A camera has no masks."""
    return out / f"camera{index}"


def is_legend(file: Path) -> bool:
    """Return True if a file is a legend of an earlier prediction."""
    from PIL import Image

    try:
        with Image.open(file, formats=["PNG"]) as picture:
            return picture.info.get("Title") == LEGEND_TITLE
    except OSError:  # also of Pillow, for a file that is no PNG
        return False


def _files_of(names: Sequence[str | Path], out: Path) -> list[tuple[Path, Path]]:
    """Return the files to segment, each with the path of its results."""
    files: list[tuple[Path, Path]] = []
    for path in map(Path, names):
        if path.is_dir():
            if path.resolve() == out.resolve():
                raise UserError(f"--out is the folder of the pictures, {path}; give another folder")
            found = sorted(file for file in files_below(path) if file.suffix.lower() in SUFFIXES)
            inside = [file for file in found if not _is_result(file, out)]
            if not inside:
                raise UserError(_no_pictures(path))
            files += [(file, out / file.relative_to(path).with_suffix("")) for file in inside]
        elif path.is_file():
            if not _is_result(path, out):
                files.append((path, out / path.stem))
        else:
            raise UserError(f"no such file or folder: {path}")
    return files


def _no_pictures(folder: Path) -> str:
    video = next((file for file in sorted(files_below(folder)) if is_video(file)), None)
    if video is not None:
        return f"no pictures in {folder}, but videos; name each, as in {video}"
    return f"no pictures in {folder}; looked for {', '.join(SUFFIXES)}"


def _is_result(file: Path, out: Path) -> bool:
    """Return True if a file in ``out`` is the result of an earlier prediction, which writes pairs, and a legend."""
    if not file.resolve().is_relative_to(out.resolve()):
        return False
    if file.name == LEGEND and file.parent.resolve() == out.resolve():
        return is_legend(file)
    if re.fullmatch(r"\d{6,}", file.stem) and _is_result_of(file.parent, "labels", video=True):
        return True
    return any(_is_result_of(file.with_suffix(""), kind, video=is_video(file)) for kind in ("labels", "overlay"))


def _is_result_of(file: Path, kind: str, *, video: bool) -> bool:
    name, _, found = file.name.rpartition("_")
    return bool(name) and found == kind and all(each.exists() for each in results_of(file.with_name(name), video=video))


def _check_targets(pictures: Mapping[Path, Path], videos: Mapping[Path, Path], out: Path) -> None:
    """Raise if a result would overwrite an input or another file, or be written through a link to another folder."""
    inputs = {file.resolve() for file in (*pictures.values(), *videos.values())}
    for files, video in ((pictures, False), (videos, True)):
        for target, file in files.items():
            results = results_of(target, video=video)
            for written in results:
                if written.parent.resolve() / written.name in inputs:
                    raise UserError(f"the results of {file} would overwrite the input {written}; give another --out")
            _check_pair(file, results)
            for folder in target.parents[: len(target.parents) - len(out.parents) - 1]:
                if folder.is_symlink():
                    raise UserError(
                        f"{folder} is a link and leads out of --out {out}; remove it, or give another --out"
                    )


def _check_pair(file: Path, results: Results) -> None:
    """Raise if one of the two results exists without the other, because a prediction writes both."""
    there = [each for each in results if each.exists()]
    if len(there) == 1:
        missing = next(each.name for each in results if each != there[0])
        raise UserError(
            f"the results of {file} would overwrite {there[0]}, which may be yours, because {missing} is missing; "
            "delete it, or give another --out"
        )


def _check_camera(index: int, target: Path) -> None:
    """Raise if there is a recording already: a camera cannot give the same frames again."""
    overlay = results_of(target, video=True).overlay
    if overlay.exists() or overlay.is_symlink():
        raise UserError(f"camera {index} would overwrite {overlay}; give another --out")


def _check_legend(inputs: Sequence[Path], out: Path) -> None:
    legend = out / LEGEND
    given = {file.resolve() for file in inputs}
    if (legend.exists() and not is_legend(legend)) or legend.parent.resolve() / legend.name in given:
        raise UserError(f"the legend would overwrite {legend}; give another --out")
