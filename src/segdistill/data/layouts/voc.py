"""Pascal VOC 2012, with the augmented training set of SBD if the folder has it."""

from pathlib import Path

from segdistill.data.classes import VOID, Classes, color
from segdistill.data.layouts.layout import DatasetCard, Layout, Split
from segdistill.data.layouts.pairing import expect, shown
from segdistill.errors import UserError

CLASSES = Classes(
    (
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    )
)

# The names of the augmented list in CIRKD's release and in those of DeepLab and mmsegmentation, then the original list.
LISTS = {"train": ("train_aug", "trainaug", "train"), "val": ("val",)}


def open_voc(root: Path) -> Layout:
    """Return the images of each list and their masks. :attr:`Split.source` names the list.

    The masks of an augmented list are those in SegmentationClassAug, if that folder exists. The masks of ``train`` and
    ``val`` are the original ones in SegmentationClass, as in the CIRKD code base. The palette of the masks is VOC's
    color map, so masks that were converted to RGB are read by these colors.
    """
    expect(root, "voc", ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation"], inside=("*", "VOCdevkit/*"))
    splits = [_split(root, name, path) for name, path in _lists(root / "ImageSets/Segmentation")]
    return Layout("voc", CLASSES, tuple(splits), colors=(*CLASSES.palette, color(VOID)))


def _lists(folder: Path) -> list[tuple[str, Path]]:
    paths = {split: [folder / f"{name}.txt" for name in names] for split, names in LISTS.items()}
    candidates = [(split, next((path for path in of if path.is_file()), None)) for split, of in paths.items()]
    lists = [(split, path) for split, path in candidates if path is not None]
    if not lists:
        held = shown(path.name for path in folder.iterdir())
        raise UserError(f"'{folder}' holds no list train_aug.txt, trainaug.txt, train.txt or val.txt; it holds {held}")
    return lists


def _split(root: Path, name: str, path: Path) -> Split:
    masks = root / "SegmentationClass"
    if "aug" in path.stem and (root / "SegmentationClassAug").is_dir():
        masks = root / "SegmentationClassAug"
    # A line is a name, or the paths of an image and its mask.
    stems = sorted(
        {Path(line.split()[0]).stem for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()}
    )
    if not stems:
        raise UserError(f"'{path}' is empty; expected one image name per line")
    images = tuple(root / "JPEGImages" / f"{stem}.jpg" for stem in stems)
    labels = tuple(masks / f"{stem}.png" for stem in stems)
    _check_files(path, "image", images)
    _check_files(path, "mask", labels)
    return Split(name, images, labels, source=f"{path.name} with the masks in {masks.name}")


def _check_files(path: Path, kind: str, files: tuple[Path, ...]) -> None:
    folder = files[0].parent
    existing = {file.name for file in folder.iterdir()}
    if missing := [file.name for file in files if file.name not in existing]:
        remedy = "; its masks belong in SegmentationClassAug" if kind == "mask" and "aug" in path.stem else ""
        raise UserError(
            f"{len(missing)} of {len(files)} names in '{path}' have no {kind} in '{folder}': {shown(missing)}{remedy}"
        )


CARD = DatasetCard(
    name="voc",
    about="photographs: 20 object classes and background, 1464 train (10582 with SBD's) and 1449 val images",
    source="host.robots.ox.ac.uk/pascal/VOC/voc2012 (VOCtrainval); the augmented masks and list are SBD's "
    "(Hariharan et al., 2011), as repackaged for DeepLab",
    terms="the photographs are flickr's, under its terms of use",
    layout="""\
JPEGImages/*.jpg
SegmentationClass/*.png                       class indices 0..20, 255 = void, or VOC's colors
SegmentationClassAug/*.png                    optional, the masks of the augmented list
ImageSets/Segmentation/train.txt, val.txt     names; train_aug.txt or trainaug.txt has precedence over train.txt""",
    open=open_voc,
)
