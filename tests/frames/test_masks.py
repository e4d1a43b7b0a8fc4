"""Index masks, and folders of them that are replaced as a whole."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdistill.data import Classes
from segdistill.errors import UserError
from segdistill.frames.masks import MaskFolder, mask_picture, replacing_masks
from tests.frames.videos import CLASSES

LABELS = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)


def test_a_mask_holds_indices_and_colors() -> None:
    mask = mask_picture(LABELS, CLASSES)
    assert np.array_equal(np.asarray(mask), LABELS)
    assert mask.convert("RGB").getpixel((1, 0)) == CLASSES.palette[1]


def test_256_classes_fit(tmp_path: Path) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    mask_picture(every, Classes(tuple(map(str, range(256))))).save(tmp_path / "x.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), every)


def test_a_folder_is_replaced_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "clip_labels"
    for count in (3, 2):  # the second video is shorter
        with replacing_masks(folder, CLASSES) as masks:
            for number in range(count):
                masks.write(number, LABELS)
        assert sorted(file.name for file in folder.iterdir()) == [f"{number:06}.png" for number in range(count)]
        assert [each.name for each in folder.parent.iterdir()] == ["clip_labels"]
    with Image.open(folder / "000001.png") as mask:
        assert np.array_equal(np.asarray(mask), LABELS)


def test_after_an_error_it_is_as_before(tmp_path: Path) -> None:
    folder = tmp_path / "clip_labels"
    with replacing_masks(folder, CLASSES) as masks:
        masks.write(0, LABELS)
    with pytest.raises(KeyboardInterrupt), replacing_masks(folder, CLASSES) as masks:
        for number in range(5):
            masks.write(number, LABELS)
        raise KeyboardInterrupt
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.png")] == ["clip_labels/000000.png"]
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "clip_labels.tmp").mkdir()
    (tmp_path / "clip_labels.tmp/000009.png").touch()
    with replacing_masks(tmp_path / "clip_labels", CLASSES) as masks:
        masks.write(0, LABELS)
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.png")] == ["clip_labels/000000.png"]


@pytest.mark.parametrize("name", ["clip_labels", "clip_labels.tmp"])
def test_files_of_the_user_are_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    mine = tmp_path / name / "notes.txt"
    mine.touch()
    with (
        pytest.raises(UserError, match=rf"{name} would be replaced, but has other files: notes\.txt; give another"),
        replacing_masks(tmp_path / "clip_labels", CLASSES),
    ):
        pass
    assert mine.exists()


def test_a_file_or_a_link_in_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "clip_labels"
    (tmp_path / "elsewhere").mkdir()
    for make in (folder.touch, lambda: folder.symlink_to(tmp_path / "elsewhere")):
        make()
        with (
            pytest.raises(UserError, match="clip_labels is no folder; remove it, or give another --out"),
            replacing_masks(folder, CLASSES),
        ):
            pass
        folder.unlink()


def test_a_mask_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*000003\.png: No such file or directory"):
        MaskFolder(tmp_path / "gone", CLASSES).write(3, LABELS)
