"""The recipes whose loss curves must not change, and small data sets for those that need files.

    python -m benchmarks.curve_sets FOLDER

draws ``FOLDER/folder``, ``FOLDER/camvid`` and ``FOLDER/imagenet``, the same files every time, and prints the recipes as
arguments of ``benchmarks.curves record``.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

CAMVID_CLASSES = 11
SIZE = (48, 64)

SMALL = "data.size=[48,64] data.crop=[32,48] data.images=[12,3,3]"

RECIPES = {
    "quickstart": f"quickstart {SMALL}",
    "camvid": "camvid data.root={root}/camvid data.crop=[32,32] train.batch_size=4",
    "folder": "folder method=gskd data.root={root}/folder data.crop=[32,32] train.batch_size=4",
    "first_stage": f"quickstart {SMALL} method=maskd",
    "discriminator": f"quickstart {SMALL} method=skd",
    "memory": f"quickstart {SMALL} method=cirkd",
    "teachers": "{root}/teachers.yaml",
    "classification": "{root}/classification.yaml",
}
"""By what each one covers: arguments of ``segdistill distill``, with {root} for the folder of the data sets."""

TEACHERS = """\
recipe: quickstart
data: {size: [48, 64], crop: [32, 48], images: [12, 3, 3]}
teacher:
  members:
    small: {model: deeplabv3plus/tu-test_resnet, train: {}}
    other: {model: unet/tu-test_resnet, train: {}}
method: kd
"""

CLASSIFICATION = """\
data: {name: imagenet, root: "%s/imagenet", crop: [32, 32]}
student: {model: resnet18}
teacher: {model: resnet34, train: {}}
method: kd
train: {batch_size: 4, learning_rate: 0.01}
"""


def draw(root: Path) -> None:
    """Draw the data sets and write the recipes that need a file."""
    numbers = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3), ("test", 3)):
        for index in range(count):
            image, labels = _scene(numbers, CAMVID_CLASSES)
            _save(image, root / "camvid" / split / f"{index:02}.png")
            _save(labels, root / "camvid" / f"{split}annot" / f"{index:02}.png")
            image, labels = _scene(numbers, 3)
            _save(image, root / "folder" / "images" / split / f"{index:02}.png")
            _save(labels, root / "folder" / "labels" / split / f"{index:02}.png")
            for name in ("ape", "bee", "cow"):
                _save(_scene(numbers, 3)[0], root / "imagenet" / split / name / f"{index:02}.png")
    (root / "teachers.yaml").write_text(TEACHERS)
    (root / "classification.yaml").write_text(CLASSIFICATION % root)


def recipes(root: Path) -> dict[str, str]:
    """Return the recipes by name, on the data sets of :func:`draw`."""
    return {name: text.format(root=root) for name, text in RECIPES.items()}


def _scene(numbers: np.random.Generator, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image whose colors depend on its labels: a coarse map of classes, each once at least, under noise."""
    cells = numbers.permutation(np.resize(np.arange(classes), 24)).reshape(4, 6)
    labels = np.kron(cells, np.ones((12, 11)))[: SIZE[0], : SIZE[1]].astype(np.uint8)
    noise = numbers.integers(0, 40, (*SIZE, 3))
    image = np.stack([labels * 20, labels * 37 % 200, 200 - labels * 15], axis=-1) + noise
    return image.astype(np.uint8), labels


def _save(pixels: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
    print("\n".join(recipes(Path(sys.argv[1])).values()))
