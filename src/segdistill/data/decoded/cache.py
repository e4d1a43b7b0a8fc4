"""The decoded items of a data set, prepared before a run: in a file that is up to date, or on the device."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import torch

from segdistill.data.caches import FOLDER
from segdistill.data.datasets.base import ImageDataset
from segdistill.data.decoded.file import DamagedError, DecodedFile, Origin, Sample, write_decoded
from segdistill.data.decoding.images import reading_threads
from segdistill.data.layouts import Layout
from segdistill.errors import UserError
from segdistill.system.folder_lock import alone_in
from segdistill.system.progress import tracked

# The largest share of the free memory that decoded images may take; training needs the rest.
SHARE_OF_MEMORY = 0.75

Emit = Callable[[str], None]


def decoded_path(layout: Layout, split: str, dataset: ImageDataset, folder: Path) -> Path:
    """Return the file of a split's decoded items: another one for other settings and other lists of images."""
    files = layout.split(split)
    place = os.path.relpath((files.images or files.tables)[0].parent.resolve(), folder.resolve())
    digest = hashlib.sha256(json.dumps([dataset.settings(), files.source, place]).encode()).hexdigest()[:12]
    return folder / f"{layout.name}-{split}-{digest}.decoded"


def attach(dataset: ImageDataset) -> None:
    """Let a data set read from its file of decoded items, if that exists and is up to date."""
    if dataset.decoded_path is not None:
        with suppress(DamagedError, OSError):
            found = DecodedFile(dataset.decoded_path)
            if found.settings == dataset.settings() and [each.origin for each in found.entries] == dataset.origins():
                dataset.decoded = found


def prepare(dataset: ImageDataset, name: str, emit: Emit, device: torch.device) -> None:
    """Decode all items once, into a file or onto the device, depending on ``dataset.cache``.

    Of several processes, one writes the file and the others wait for it. Items whose source has not changed are copied
    from the file that it replaces.

    Args:
        dataset: The data set.
        name: Its name in the lines.
        emit: Receives a line before the work.
        device: The device that trains.

    Raises:
        UserError: If the items do not fit on the disk or the device, the folder cannot be written to, or an item cannot
            be read.
    """
    if dataset.cache == "device" and dataset.device is None:
        needed = _fitting(dataset, name, device)
        emit(f"{name}: {len(dataset)} decoded images, {_bytes(needed)}, are kept on the device {device}")
        dataset.move_to(device, f"decoding the images of {name}")
    path = dataset.decoded_path
    if path is None or dataset.decoded is not None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path.parent, error.strerror) from error
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path.parent, "permission denied")
    waiting = f"{name}: waiting for the run that writes to '{path.parent}'"
    with alone_in(path.parent, waits=lambda: emit(waiting), remedy="set data.cache_folder to a folder on a local disk"):
        attach(dataset)  # another process may have written it
        if dataset.decoded is None:
            _write(dataset, path, name, emit)
            dataset.decoded = DecodedFile(path)


def described(dataset: ImageDataset, name: str, device: torch.device) -> str | None:
    """Return a line on what :func:`prepare` will do, with the size; None if there is nothing to do.

    Raises:
        UserError: As :func:`prepare` will.
    """
    if dataset.cache == "device":
        return f"{name}: {len(dataset)} decoded images take {_bytes(_fitting(dataset, name, device))} on the device"
    path = dataset.decoded_path
    if path is None:
        return None
    if dataset.decoded is not None:
        return f"{name}: decoded images are read from '{path}'"
    needed = _checked_room(dataset, path.parent)
    return f"{name}: the first run writes {len(dataset)} decoded images, {_bytes(needed)}, to '{path}'"


def _write(dataset: ImageDataset, path: Path, name: str, emit: Emit) -> None:
    origins = dataset.origins()
    assert origins is not None
    old = _old_file(dataset, path, name, emit)
    known = {} if old is None else {_key(entry.origin): index for index, entry in enumerate(old.entries)}
    copied = sum(_key(origin) in known for origin in origins)
    needed = _checked_room(dataset, path.parent)
    kept = f"; {len(origins) - copied} of them are new or have changed" if old is not None else ""
    emit(f"{name}: writing {len(origins)} decoded images, {_bytes(needed)}, to '{path}'{kept}")

    def item(index: int) -> tuple[Origin, Sample]:
        earlier = known.get(_key(origins[index]))
        if old is not None and earlier is not None:
            with suppress(UserError):  # damaged: decode it again
                return origins[index], old.sample(earlier)
        return origins[index], dataset[index]

    items = tracked(_in_order(item, len(origins)), f"decoding the images of {name}", len(origins))
    write_decoded(path, dataset.settings(), items)


def _old_file(dataset: ImageDataset, path: Path, name: str, emit: Emit) -> DecodedFile | None:
    try:
        old = DecodedFile(path)
    except FileNotFoundError:
        return None
    except (DamagedError, OSError) as error:
        emit(f"{name}: '{path}' cannot be used ({error}) and is written again")
        return None
    return old if old.settings == dataset.settings() else None


def _in_order(item: Callable[[int], tuple[Origin, Sample]], count: int) -> Iterator[tuple[Origin, Sample]]:
    """Yield items in order. Threads decode a few of them at a time, so that few are in memory."""
    threads = reading_threads()
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, count, 4 * threads):
            yield from pool.map(item, range(first, min(first + 4 * threads, count)))


def _key(origin: Origin) -> str:
    return json.dumps(origin)


def _size(dataset: ImageDataset) -> int:
    with ThreadPoolExecutor(reading_threads()) as pool:
        return sum(pool.map(dataset.bytes_of, range(len(dataset))))


def _checked_room(dataset: ImageDataset, folder: Path) -> int:
    """Return the size of the decoded items. Raise if the folder cannot hold them."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not os.access(there, os.W_OK):
        raise _unwritable(folder, "permission denied")
    needed, free = _size(dataset), shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"the decoded images take {_bytes(needed)} and '{folder}' has room for {_bytes(free)}; set "
            "data.cache_folder to a folder with more room, or data.cache=false"
        )
    return needed


def _unwritable(folder: Path, reason: str | None) -> UserError:
    return UserError(
        f"cannot write decoded images to '{folder}': {reason}; set data.cache_folder to a folder that can be written "
        "to, or data.cache=false"
    )


def _fitting(dataset: ImageDataset, name: str, device: torch.device) -> int:
    """Return the size of the decoded items. Raise if the device cannot hold them."""
    needed, free = _size(dataset), _free_memory(device)
    if free is not None and dataset.device is None and needed > SHARE_OF_MEMORY * free:
        raise UserError(
            f"the {len(dataset)} decoded images of {name} take {_bytes(needed)} and the device {device} has "
            f"{_bytes(free)} free, of which training needs a quarter; set data.cache=memmap, or a smaller data.scale"
        )
    return needed


def _free_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "cpu" and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None  # unknown


def _bytes(count: int) -> str:
    unit, name = next(((unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB")) if count >= unit), (1e3, "kB"))
    return f"{count / unit:.1f} {name}"


def default_folder(root: str | Path) -> Path:
    """Return the folder of decoded items in that of a data set."""
    return Path(root).expanduser() / FOLDER
