"""Record of the counts of each image in a run's folder: images.json."""

import json
from pathlib import Path

from segdistill.statistics.image_counts import ImageCounts
from segdistill.system.atomic import write_text

FILE = "images.json"


def write_image_counts(folder: Path, counts: ImageCounts) -> None:
    """Write images.json into a run's folder, atomically."""
    write_text(folder / FILE, json.dumps(counts.record(), separators=(",", ":")) + "\n")


def read_image_counts(folder: Path) -> ImageCounts | None:
    """Return the counts in a run's folder; None if the file is damaged, or missing, as in runs of earlier versions."""
    try:
        return ImageCounts.of(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
