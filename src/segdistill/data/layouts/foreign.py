"""Annotations of other programs, and errors that tell how to convert them to masks."""

from pathlib import Path

from segdistill.errors import UserError

# The number of bytes to read at the beginning and at the end of a file, to recognize annotations of any size.
_PEEKED = 1 << 16


def refuse_foreign(root: Path) -> None:
    """Raise if a folder holds the annotations of another program instead of masks.

    Raises:
        UserError: If it does. The message names the program and tells how to get masks from it.
    """
    message = _coco(root) or _cvat(root) or _labelme(root) or _yolo(root)
    if message:
        raise UserError(f"'{root}' holds {message}")


def _coco(root: Path) -> str | None:
    for file in (*root.glob("*.json"), *root.glob("annotations/*.json")):
        if _holds(file, b'"annotations"') and (_holds(file, b'"categories"') or _holds(file, b'"segmentation"')):
            return (
                f"COCO annotations ({file.relative_to(root)}), expected one mask for each image: with pycocotools, set "
                "mask[coco.annToMask(a) > 0] = CLASS for every annotation a of an image and save the mask as PNG in "
                "labels/, under the image's name"
            )
    return None


def _cvat(root: Path) -> str | None:
    for file in (*root.glob("annotations.xml"), *root.glob("annotations/*.xml")):
        if _holds(file, b"<annotations>"):
            return (
                f"CVAT annotations ({file.relative_to(root)}), expected one mask for each image: export them from CVAT "
                "as 'Segmentation mask 1.1', with the colors of its labelmap.txt as \"palette\" of classes.json"
            )
    return None


def _labelme(root: Path) -> str | None:
    for pattern in ("*.json", "images/**/*.json", "labels/**/*.json"):
        for file in root.glob(pattern):
            if _holds(file, b'"shapes"'):
                return (
                    f"labelme annotations ({file.relative_to(root)}), expected one mask for each image: convert them "
                    "with labelme2voc.py of labelme's examples/semantic_segmentation and put its SegmentationClass "
                    "PNGs in labels/"
                )
            break  # one file of each folder is enough
    return None


def _yolo(root: Path) -> str | None:
    file = next(root.glob("labels/**/*.txt"), None)
    if file is None:
        return None
    return (
        f"YOLO annotations ({file.relative_to(root)}), expected one mask for each image: draw the polygon of each line "
        "with the index of its class (PIL.ImageDraw.polygon) and save the masks as PNG in labels/; boxes cannot be used"
    )


def _holds(file: Path, words: bytes) -> bool:
    with file.open("rb") as opened:
        head = opened.read(_PEEKED)
        opened.seek(max(0, file.stat().st_size - _PEEKED))
        return words in head or words in opened.read()
