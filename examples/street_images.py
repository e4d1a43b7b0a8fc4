"""Write a small folder of generated street scenes: images with masks, and images to segment."""

import json
import sys
from pathlib import Path

from PIL import Image

from segdistill.data.generated.scenes import Scenes

COUNTS = {"train": 120, "val": 30}


def main(folder: Path) -> None:
    """Write images/ and labels/ of both splits, classes.json, and new/ with four images."""
    for split, count in COUNTS.items():
        scenes = Scenes(split)
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, labels = scenes.read(index)
            name = f"{scenes.name(index)}.png"
            Image.fromarray(image).save(folder / "images" / split / name)
            Image.fromarray(labels).save(folder / "labels" / split / name)
    classes = {"classes": scenes.classes.names, "palette": scenes.classes.palette}
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    (folder / "new").mkdir(exist_ok=True)
    scenes = Scenes("test")
    for index in range(4):
        Image.fromarray(scenes.read(index)[0]).save(folder / "new" / f"{scenes.name(index)}.png")
    print(f"wrote {' and '.join(f'{count} images for {split}' for split, count in COUNTS.items())} to {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "my_images"))
