"""Decoded images in a file: the same tensors as without it, and nothing old after a source has changed."""

import json
import logging
import multiprocessing
import os
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from segdistill.data import Scenes, TrainingStream, open_dataset, training_loader, training_transform
from segdistill.data.datasets.base import ImageDataset
from segdistill.data.datasets.image_files import MaskFiles
from segdistill.data.decoded import cache
from segdistill.data.decoded.cache import described, prepare
from segdistill.data.generated.shapes import Shapes
from segdistill.errors import UserError
from segdistill.system.progress import listening
from tests.heard import Heard

CPU = torch.device("cpu")


def noise(root: Path, split: str, name: str, size: tuple[int, int], seed: int) -> None:
    """Write a noisy image and mask of three classes to a ``folder``."""
    numbers = np.random.default_rng(seed)
    for kind, shape, high in (("images", (*size, 3), 256), ("labels", size, 3)):
        path = root / kind / split / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbers.integers(0, high, shape).astype(np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A ``folder`` of images of different sizes."""
    root = tmp_path / "set"
    for index, size in enumerate([(12, 20), (16, 9), (31, 17), (5, 40)]):
        noise(root, "train", f"t{index}", size, index)
    noise(root, "val", "v0", (14, 18), 9)
    (root / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that were decoded, in order."""
    names: list[str] = []
    read = MaskFiles.read

    def reading(self: MaskFiles, index: int) -> Any:
        names.append(self.name(index))
        return read(self, index)

    monkeypatch.setattr(MaskFiles, "read", reading)
    return names


def cached(root: Path, **options: Any) -> ImageDataset:
    return open_dataset("folder", root, cache="memmap", **options)


def file_in(root: Path) -> Path:
    (file,) = (root / "segdistill_cache").glob("*.decoded")
    return file


def agree(found: ImageDataset, expected: ImageDataset) -> None:
    """Fail unless all items are equal to the bit, with equal types and strides."""
    assert len(found) == len(expected) > 0
    for index in range(len(found)):
        for one, other in zip(found[index], expected[index], strict=True):
            assert type(one) is type(other)
            assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    "options", [{}, {"scale": 0.5}, {"scale": 1.5, "native_labels": True}, {"native_labels": True}]
)
def test_items_are_equal_to_the_bit(root: Path, decoded: list[str], options: dict[str, Any]) -> None:
    first = cached(root, **options)
    assert sorted(decoded) == ["t0", "t1", "t2", "t3"]
    decoded.clear()
    again = cached(root, **options)
    items = [*first], [*again]
    assert decoded == []
    assert len(items[0]) == len(items[1]) == 4
    fresh = open_dataset("folder", root, **options)
    agree(first, fresh)
    agree(again, fresh)


def test_layouts(camvid: Path, tmp_path: Path, write) -> None:
    for split in ("train", "val", "test"):
        kept = open_dataset("camvid", camvid, split, cache="memmap")
        assert kept.decoded is not None
        agree(kept, open_dataset("camvid", camvid, split))
    imagenet = tmp_path / "imagenet"
    for split, name in (("train", "n1"), ("train", "n2"), ("val", "n1"), ("val", "n2")):
        write(imagenet / split / name / "a.JPEG", np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8))
    kept = open_dataset("imagenet", imagenet, cache="memmap", scale=2)
    agree(kept, open_dataset("imagenet", imagenet, scale=2))
    assert [int(label) for _, label in kept] == [0, 1]
    ids = np.arange(34, dtype=np.uint8).reshape(2, 17)
    city = tmp_path / "city"
    for split in ("train", "val"):
        write(city / f"leftImg8bit/{split}/x/x_0_leftImg8bit.png", np.zeros((2, 17, 3), np.uint8))
        write(city / f"gtFine/{split}/x/x_0_gtFine_labelIds.png", ids)
    kept = open_dataset("cityscapes", city, cache="memmap", cache_folder=tmp_path / "fast")
    agree(kept, open_dataset("cityscapes", city))
    assert not (city / "segdistill_cache").exists()


def test_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    library.disable_progress_bars()
    features = library.Features({"image": library.Image(), "mask": library.Image()})

    def save(root: Path, gray: int) -> None:
        pictures = [Image.fromarray(np.full((4, 6, 3), gray + i, np.uint8)) for i in range(3)]
        marks = [Image.fromarray(np.full((4, 6), i, np.uint8)) for i in range(3)]
        table = library.Dataset.from_dict({"image": pictures, "mask": marks}, features=features)
        shutil.rmtree(root, ignore_errors=True)
        library.DatasetDict({"train": table, "validation": table}).save_to_disk(root)

    root = tmp_path / "set"
    save(root, 10)
    agree(open_dataset("hf", root, cache="memmap"), open_dataset("hf", root))
    assert open_dataset("hf", root, cache="memmap")[2][0].unique().tolist() == [12]
    folder = tmp_path / "kept"
    agree(open_dataset("hf", root, cache="memmap", cache_folder=folder), open_dataset("hf", root))
    save(root, 20)
    assert open_dataset("hf", root, cache="memmap", cache_folder=folder)[2][0].unique().tolist() == [22]
    named = tmp_path / "named"
    path = named / "picture.png"
    path.parent.mkdir()
    Image.fromarray(np.full((4, 6, 3), 7, np.uint8)).save(path)
    cells = {"image": [{"path": str(path), "bytes": None}], "mask": [Image.fromarray(np.eye(4, 6, dtype=np.uint8))]}
    table = library.Dataset.from_dict(cells, features=features)
    table.to_parquet(str(named / "train.parquet"))
    table.to_parquet(str(named / "validation.parquet"))
    options: dict[str, Any] = {"cache": "memmap", "cache_folder": folder}
    kept = open_dataset("hf", named, **options)
    agree(kept, open_dataset("hf", named))
    Image.fromarray(np.full((4, 6, 3), 8, np.uint8)).save(path)
    os.utime(path, ns=(1, 1))
    agree(open_dataset("hf", named, **options), open_dataset("hf", named))


def test_a_changed_source_is_decoded_again_and_the_others_are_copied(
    root: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    cached(root)
    decoded.clear()
    file = root / "images/train/t1.png"
    with Image.open(file) as picture:
        changed = 255 - np.asarray(picture)
    Image.fromarray(changed).save(file)
    with caplog.at_level(logging.INFO):
        again = cached(root)
    assert decoded == ["t1"]
    assert "4 decoded images" in caplog.text
    assert "1 of them are new or have changed" in caplog.text
    agree(again, open_dataset("folder", root))


def test_a_time_alone_counts_as_a_change(root: Path, decoded: list[str]) -> None:
    cached(root)
    decoded.clear()
    mask = root / "labels/train/t2.png"
    os.utime(mask, ns=(mask.stat().st_atime_ns, mask.stat().st_mtime_ns + 1))
    cached(root)
    assert decoded == ["t2"]


def test_added_removed_and_renamed_sources(root: Path, decoded: list[str]) -> None:
    cached(root)
    decoded.clear()
    noise(root, "train", "t00", (8, 8), 20)
    for kind in ("images", "labels"):
        (root / kind / "train/t3.png").unlink()
        (root / kind / "train/t2.png").rename(root / kind / "train/t9.png")
    again = cached(root)
    assert sorted(decoded) == ["t00", "t9"]
    assert [again.name(index) for index in range(len(again))] == ["t0", "t00", "t1", "t9"]
    agree(again, open_dataset("folder", root))


def test_settings_are_kept_apart(root: Path) -> None:
    whole, half = cached(root), cached(root, scale=0.5)
    assert len([*(root / "segdistill_cache").glob("*.decoded")]) == 2
    agree(whole, open_dataset("folder", root))
    agree(half, open_dataset("folder", root, scale=0.5))


def test_a_file_of_other_settings_under_this_name_is_not_used(root: Path) -> None:
    whole = cached(root)
    assert whole.decoded_path is not None
    content = whole.decoded_path.read_bytes()
    half = cached(root, scale=0.5)
    assert half.decoded_path is not None
    half.decoded_path.write_bytes(content)
    agree(cached(root, scale=0.5), open_dataset("folder", root, scale=0.5))


def test_another_meaning_of_the_masks(root: Path, decoded: list[str]) -> None:
    cached(root)
    (root / "classes.json").write_text(json.dumps({"classes": ["a", "b", "c"], "ignore_index": 2}))
    decoded.clear()
    again = cached(root)
    assert sorted(decoded) == ["t0", "t1", "t2", "t3"]
    assert {255} <= set(again[0][1].unique().tolist()) <= {0, 1, 255}


def test_two_data_sets_in_one_folder(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(root, other)  # copies the times, too
    file = other / "images/train/t0.png"
    times = file.stat()
    with Image.open(file) as picture:
        pixels = np.asarray(picture)
    Image.fromarray(pixels[::-1]).save(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    options: dict[str, Any] = {"cache": "memmap", "cache_folder": tmp_path / "fast"}
    one, two = open_dataset("folder", root, **options), open_dataset("folder", other, **options)
    assert not torch.equal(one[0][0], two[0][0])
    agree(two, open_dataset("folder", other))


@pytest.mark.parametrize("length", [0, 10, 200, -1])
def test_a_file_that_is_cut_off_is_written_again(
    root: Path, length: int, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    cached(root)
    file = file_in(root)
    file.write_bytes(file.read_bytes()[:length])
    decoded.clear()
    with caplog.at_level(logging.INFO):
        again = cached(root)
    assert "it is cut off) and is written again" in caplog.text
    assert len(decoded) == 4
    agree(again, open_dataset("folder", root))


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_a_damaged_item_is_an_error_with_a_remedy(root: Path, decoded: list[str]) -> None:
    cached(root)
    file = file_in(root)
    flip(file, 3 * 12 * 20 + 12 * 20 + 5)  # in the second image
    again = cached(root)
    again[0]
    with pytest.raises(UserError, match=r"decoded' is damaged \(the checksum of item 1 .*\); delete it") as caught:
        again[1]
    assert "\n" not in str(caught.value)
    file.unlink()
    agree(cached(root), open_dataset("folder", root))


def test_a_damaged_item_is_not_copied(root: Path, decoded: list[str]) -> None:
    cached(root)
    flip(file_in(root), 3)
    os.utime(root / "labels/train/t2.png", ns=(1, 1))
    decoded.clear()
    again = cached(root)
    assert sorted(decoded) == ["t0", "t2"]
    agree(again, open_dataset("folder", root))


def test_a_damaged_index(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    cached(root)
    flip(file_in(root), -30)
    with caplog.at_level(logging.INFO):
        agree(cached(root), open_dataset("folder", root))
    assert "its index is damaged" in caplog.text


def test_changes_of_a_tensor_stay_in_the_process(root: Path) -> None:
    cached(root)[0][0].fill_(0)
    agree(cached(root), open_dataset("folder", root))


def test_items_are_mapped_and_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = cached(root)
    monkeypatch.setattr("segdistill.data.decoded.file._read", lambda *_: pytest.fail("an item was read"))
    agree(data, open_dataset("folder", root))


def test_more_items_than_a_process_may_map(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = cached(root)

    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("segdistill.data.decoded.file.mmap.mmap", refused)
    agree(data, open_dataset("folder", root))


def test_an_unreadable_image_leaves_no_file(root: Path) -> None:
    path = root / "images/train/t1.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"cannot read '.*t1\.png'"):
        cached(root)
    assert [file.name for file in (root / "segdistill_cache").iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_written_to(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "segdistill_cache").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write .*segdistill_cache': File exists; set data.cache_folder"):
        cached(root)
    (root / "segdistill_cache").unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match=r"segdistill_cache': permission denied; set data.cache_folder to a folder"):
        cached(root)


def test_a_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = 12 * 20 + 16 * 9 + 31 * 17 + 5 * 40
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 4 * pixels - 1))
    with pytest.raises(UserError, match=r"images take 4\.4 kB and '.*' has room for 4\.4 kB; set data\.cache_fold"):
        cached(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 4 * pixels))
    agree(cached(root), open_dataset("folder", root))


@pytest.mark.parametrize("options", [{}, {"scale": 0.5}, {"scale": 0.3, "native_labels": True}])
def test_the_size_that_is_said_is_that_of_the_items(root: Path, options: dict[str, Any]) -> None:
    data = cached(root, **options)
    assert data.decoded is not None
    assert [data.bytes_of(i) for i in range(4)] == [entry.size for entry in data.decoded.entries]
    assert Shapes(size=(16, 20), scale=0.5).bytes_of(0) == Shapes(size=(16, 20), scale=0.5)[0][0].numel()
    scene = Scenes(size=(16, 20), scale=0.5, native_labels=True)
    assert scene.bytes_of(0) == sum(tensor.numel() for tensor in scene[0])


def test_lines(root: Path) -> None:
    for index in range(10, 15):
        noise(root, "train", f"t{index}", (8, 8), index)
    data = open_dataset("folder", root, cache="memmap")
    file_in(root).unlink()
    data.decoded = None
    lines: list[str] = []
    assert "train: the first run writes 9 decoded images, 5.7 kB, to '" in str(described(data, "train", CPU))
    prepare(data, "train", lines.append, CPU)
    assert "train: writing 9 decoded images, 5.7 kB, to '" in lines[0]
    assert len(lines) == 1
    assert "train: decoded images are read from '" in str(described(data, "train", CPU))
    lines.clear()
    prepare(data, "train", lines.append, CPU)
    assert lines == []


@pytest.mark.parametrize("kind", ["memmap", "device"])
def test_progress_is_told_for_each_image(kind: Any, root: Path) -> None:
    heard = Heard()
    with listening(heard):
        prepare(open_dataset("folder", root, cache=kind), "train", lambda line: None, CPU)  # opening writes the file
    what, *_ = heard.told[-1]
    assert what in ("decoding the images of train", "decoding the images of folder train")
    assert heard.told[-4:] == [(what, done, 4) for done in range(1, 5)]


def test_two_writers_wait_for_each_other(root: Path, decoded: list[str]) -> None:
    lines: list[str] = []
    sets = [open_dataset("folder", root), open_dataset("folder", root)]
    target = cached(root).decoded_path
    assert target is not None
    target.unlink()
    decoded.clear()
    for data in sets:
        data.cache, data.decoded_path = "memmap", target
    threads = [threading.Thread(target=prepare, args=(data, "train", lines.append, CPU)) for data in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(decoded) == ["t0", "t1", "t2", "t3"]  # each once
    assert sum("writing 4 decoded images" in line for line in lines) == 1
    for data in sets:
        agree(data, open_dataset("folder", root))


def batches(data: ImageDataset, **options: Any) -> list[list[Tensor]]:
    stream = TrainingStream(data, training_transform((10, 12)), seed=1)
    return [[*batch] for batch in training_loader(stream, 3, steps=4, **options)]


@pytest.mark.parametrize("workers", [0, 2])
def test_training_batches_are_equal_to_the_bit(root: Path, workers: int) -> None:
    torch.testing.assert_close(
        batches(cached(root), workers=workers), batches(open_dataset("folder", root)), rtol=0, atol=0
    )


def _sum(data: ImageDataset) -> int:
    return int(data[2][0].sum())


def test_other_processes_map_the_same_file(root: Path) -> None:
    data = cached(root)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_sum, (data,)) == _sum(data)


def test_a_file_that_was_replaced_is_noticed_by_a_new_process(root: Path) -> None:
    data = cached(root)
    kept = pickle.dumps(data)
    before = data[1][0].clone()
    os.utime(root / "images/train/t1.png", ns=(1, 1))
    cached(root)
    assert torch.equal(data[1][0], before)  # this process keeps the file that it has opened
    with pytest.raises(UserError, match="was written again by another run; run the same command again"):
        pickle.loads(kept)


@pytest.mark.parametrize("name", ["scenes", "shapes"])
def test_generated_images_have_no_file(name: str) -> None:
    with pytest.raises(UserError, match=f"memmap is for images in files, and '{name}' has none; use data.cache=memory"):
        open_dataset(name, cache="memmap")


# On the device


def test_a_device_holds_the_same_items(root: Path) -> None:
    fresh, data = open_dataset("folder", root), open_dataset("folder", root, cache="device")
    lines: list[str] = []
    assert described(data, "train", CPU) == "train: 4 decoded images take 4.4 kB on the device"
    prepare(data, "train", lines.append, CPU)
    assert lines == ["train: 4 decoded images, 4.4 kB, are kept on the device cpu"]
    agree(data, fresh)
    assert data[1][0].data_ptr() == data[1][0].data_ptr()
    torch.testing.assert_close(batches(data, workers=2), batches(fresh), rtol=0, atol=0)
    stream = TrainingStream(data, training_transform((10, 12)), seed=1)
    assert training_loader(stream, 3, steps=4, workers=2).num_workers == 0
    prepare(data, "train", lines.append, CPU)
    assert len(lines) == 1


def test_a_device_that_is_too_small(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = 12 * 20 + 16 * 9 + 31 * 17 + 5 * 40
    data = open_dataset("folder", root, cache="device")
    monkeypatch.setattr(cache, "_free_memory", lambda device: 4 * pixels * 4 // 3 - 2)
    for work in (lambda: prepare(data, "train", print, CPU), lambda: described(data, "train", CPU)):
        with pytest.raises(UserError, match=r"the 4 decoded images of train take \d\.\d kB .*; set data\.cache=memmap"):
            work()
    monkeypatch.setattr(cache, "_free_memory", lambda device: 4 * pixels * 4 // 3 + 2)
    prepare(data, "train", print, CPU)
    assert data.device == CPU


def test_resizing_in_float_as_on_a_gpu_differs_by_one_level_at_most() -> None:
    """torchvision resizes uint8 natively on a CPU; on other devices it resizes float32 and rounds."""
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 61, 83)).astype(np.uint8))
    for size in ((30, 41), (90, 127)):
        native = F.resize(image, size, antialias=True).int()
        floating = F.resize(image.float(), size, antialias=True).round().clamp(0, 255).int()
        assert int((native - floating).abs().max()) <= 1


def test_augmentation_on_a_device_draws_from_the_cpu(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draws depend on (seed, position) on every device: no random number comes from the images' device."""
    transform = training_transform((10, 12))
    drawn: list[object] = []

    def counted(draw: Any) -> Any:
        return lambda *args, **options: (drawn.append(options.get("device")), draw(*args, **options))[1]

    for name in ("randint", "rand"):
        monkeypatch.setattr(torch, name, counted(getattr(torch, name)))
    transform(*open_dataset("folder", root)[0])
    assert drawn == [None] * 4
