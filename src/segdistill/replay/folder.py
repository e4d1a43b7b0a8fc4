"""The folder of a record: its manifest, its files, and a recording that is under way.

``manifest.json`` is written last, so a feature that it lists is complete. A recording that was stopped leaves
``recording.json``, files whose names end in ``.part``, and one byte for each image in ``done.part``; the next one
continues it.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdistill.errors import UserError
from segdistill.replay.answers import MARK_BYTES, TOLERANCE, Answers
from segdistill.replay.codes import Bytes, Kind, Row, total_bytes
from segdistill.replay.key import Key, digest
from segdistill.runs.json_files import damaged, read_json
from segdistill.runs.records import write_json
from segdistill.system.atomic import unwritable

Shapes = Mapping[str, tuple[int, ...]]

_PART = ".part"


@dataclass(frozen=True)
class RecordFolder:
    """The folder of one record.

    Attributes:
        root: The folder that holds the folders of all records.
        key: What the record depends on.
        images: The number of images.
    """

    root: Path
    key: Key
    images: int

    @property
    def path(self) -> Path:
        """The folder."""
        return self.root / digest(self.key)

    @property
    def crops(self) -> int:
        """The number of crops of all images."""
        return self.images * int(self.key["crops"])

    @property
    def kind(self) -> Kind:
        """The type of the codes."""
        kind: Kind = self.key["type"]
        return kind

    def features(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the recorded features by name; empty before the first recording.

        Raises:
            UserError: The manifest is damaged or another record's, or a file is missing or has another size.
        """
        file = self.path / "manifest.json"
        if not file.exists():
            return {}
        manifest = read_json(file, "key", "features")
        if manifest["key"] != self.key:
            raise UserError(f"{file} describes another record; delete {self.path}, and run the same command again")
        shapes = _shapes(file, manifest["features"])
        sizes = {self.file(name): self.crops * Row(shape, self.kind).bytes for name, shape in shapes.items()}
        for path, size in {**sizes, self.marks: self.crops * MARK_BYTES}.items():
            found = path.stat().st_size if path.exists() else 0
            if found != size:
                raise UserError(
                    f"{path} has {found} bytes instead of {size}; delete the folder {self.path}, and run the same "
                    "command again"
                )
        return shapes

    def answers(self, names: Sequence[str]) -> Answers:
        """Return the answers of these features, which must be recorded."""
        shapes = self.features()
        rows = {name: Row(shapes[name], self.kind) for name in names}
        return Answers(rows, {name: self.file(name) for name in names}, self.marks, self.crops)

    @property
    def marks(self) -> Path:
        """The file with a few pixels of each crop."""
        return self.path / "crops.marks"

    def file(self, name: str) -> Path:
        """Return the file of a feature. Its name is made of characters that every file system takes."""
        clean = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        return self.path / f"{clean if clean == name else f'{clean}-{sha256(name.encode()).hexdigest()[:8]}'}.answers"

    def bytes(self, shapes: Shapes) -> int:
        """Return the size of a record of features of these shapes."""
        return total_bytes(list(shapes.values()), self.kind, self.crops) + self.crops * MARK_BYTES

    def check_room(self, size: int) -> None:
        """Check that the disk has room for a number of bytes more.

        Raises:
            UserError: It has not.
        """
        place = next(folder for folder in (self.path.absolute(), *self.path.absolute().parents) if folder.is_dir())
        free = shutil.disk_usage(place).free
        if size > free:
            raise UserError(
                f"the teacher's answers take {as_size(size)}, and {place} has room for {as_size(free)}; give "
                "teacher.replay_folder on another disk, or a smaller teacher.replay"
            )


class Recording:
    """A recording that is under way: rows are written, and images are marked as done once their rows are on disk.

    Args:
        folder: The folder of the record, which this process has locked.
        shapes: The shapes of the features to record, by name.
    """

    def __init__(self, folder: RecordFolder, shapes: Shapes) -> None:
        self.folder = folder
        self.shapes = dict(shapes)
        self.rows = {name: Row(shape, folder.kind) for name, shape in self.shapes.items()}
        self._waiting: list[int] = []
        files = {**self._parts, "": self._marks, _PART: self._done}
        self._opened = {name: path.open("r+b", buffering=0) for name, path in files.items()}

    @property
    def _parts(self) -> dict[str, Path]:
        return {name: _part(self.folder.file(name)) for name in self.shapes}

    @property
    def _marks(self) -> Path:
        return _part(self.folder.marks)

    @property
    def _done(self) -> Path:
        return self.folder.path / f"done{_PART}"

    @classmethod
    def prepare(cls, folder: RecordFolder, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Create the files of a recording, or find those of one that was stopped. Call it in one process.

        Returns:
            The shapes of the features to record: these, or those of the stopped recording if it has all of them.
        """
        plan = folder.path / "recording.json"
        if plan.exists():
            with suppress(UserError):
                stopped = _shapes(plan, read_json(plan, "features")["features"])
                if shapes.items() <= stopped.items() and cls._is_whole(folder, stopped):
                    return stopped
        size = folder.bytes(shapes)
        folder.path.mkdir(parents=True, exist_ok=True)
        for old in folder.path.glob(f"*{_PART}"):
            old.unlink()
        plan.unlink(missing_ok=True)
        folder.check_room(size)
        try:
            for path, length in cls._lengths(folder, shapes).items():
                with path.open("xb") as file:
                    file.truncate(length)
        except OSError as error:
            raise unwritable(folder.path, error) from error
        write_json(plan, {"features": shapes})
        return dict(shapes)

    @classmethod
    def _is_whole(cls, folder: RecordFolder, shapes: Shapes) -> bool:
        lengths = cls._lengths(folder, shapes)
        return all(path.exists() and path.stat().st_size == length for path, length in lengths.items())

    @classmethod
    def _lengths(cls, folder: RecordFolder, shapes: Shapes) -> dict[Path, int]:
        rows = {
            _part(folder.file(name)): folder.crops * Row(shape, folder.kind).bytes for name, shape in shapes.items()
        }
        return {**rows, _part(folder.marks): folder.crops * MARK_BYTES, folder.path / f"done{_PART}": folder.images}

    def remaining(self) -> list[int]:
        """Return the images that are not recorded yet."""
        done = np.frombuffer(self._done.read_bytes(), np.uint8)
        return [int(index) for index in np.flatnonzero(done == 0)]

    def write(self, image: int, rows: Mapping[str, Sequence[Bytes]], marks: NDArray[np.float16]) -> None:
        """Write the answers to all crops of an image.

        Args:
            image: The index of the image.
            rows: For each feature, one row for each crop.
            marks: The pixels that tell the crops apart.

        Raises:
            UserError: The disk is full, or the file cannot be written to.
        """
        first = image * int(self.folder.key["crops"])
        for name, each in rows.items():
            self._write(name, b"".join(row.tobytes() for row in each), first * self.rows[name].bytes)
        self._write("", marks.astype("<f2").tobytes(), first * MARK_BYTES)
        self._waiting.append(image)

    def flush(self) -> None:
        """Write everything to disk, and mark the images that were written as done.

        Raises:
            UserError: The disk is full, or the files cannot be written to.
        """
        try:
            for file in self._opened.values():
                os.fsync(file.fileno())
            for image in self._waiting:
                self._write(_PART, b"\1", image)
            self._waiting.clear()
            os.fsync(self._opened[_PART].fileno())
        except OSError as error:
            raise unwritable(self.folder.path, error) from error

    def close(self) -> None:
        """Close the files."""
        for file in self._opened.values():
            file.close()

    def finish(self) -> None:
        """Give the files their names, and write the manifest. Call it in one process, after all have flushed.

        Raises:
            UserError: The crops of an earlier recording in this folder were other ones.
        """
        folder, before = self.folder, self.folder.features()
        if before and not _same_crops(folder.marks, self._marks):
            raise UserError(
                f"the crops are not those that the teacher answered in {folder.path} before: an image or a library has "
                "changed; delete the folder, and run the same command again"
            )
        for name, part in self._parts.items():
            part.replace(folder.file(name))
        self._marks.replace(folder.marks)
        write_json(folder.path / "manifest.json", {"key": folder.key, "features": {**before, **self.shapes}})
        (folder.path / "recording.json").unlink(missing_ok=True)
        self._done.unlink(missing_ok=True)

    def _write(self, name: str, content: bytes, offset: int) -> None:
        file, left = self._opened[name], memoryview(content)
        try:
            file.seek(offset)
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise unwritable(self.folder.path, error) from error


def as_size(count: int) -> str:
    """Format a number of bytes, as in ``4.6 GB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def _same_crops(one: Path, other: Path) -> bool:
    before, now = (np.fromfile(file, "<f2").astype(np.float32) for file in (one, other))
    return np.allclose(before, now, rtol=0, atol=TOLERANCE)


def _part(file: Path) -> Path:
    return file.with_name(file.name + _PART)


def _shapes(file: Path, features: object) -> dict[str, tuple[int, ...]]:
    try:
        return {str(name): tuple(int(side) for side in shape) for name, shape in dict(features).items()}  # type: ignore[call-overload]
    except (TypeError, ValueError, AttributeError):
        raise damaged(file) from None
