"""Size, score and time of every format of a student on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segdistill.export.formats import FORMATS, files_of
from segdistill.export.images import LabeledImages
from segdistill.export.measure import milliseconds, one_thread, predictions, reference, score
from segdistill.export.program import Program
from segdistill.export.runtime import Student, load


def bench(
    program: Program, weights: Path, folder: Path, images: LabeledImages, note: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Return a record for PyTorch and for each file: ``file``, ``megabytes``, ``score``, ``milliseconds``.

    Args:
        program: The student as a program.
        weights: Its weights file.
        folder: The folder with the exported files.
        images: The images for scores. The first one is timed.
        note: Receives lines of progress.
    """
    expected = reference(program)
    eager = Student(lambda batch: expected(batch)[1], {})
    files = {"pytorch": weights} | {name: folder / FORMATS[name].file for name in FORMATS}
    image, records = next(iter(images))[0], {}
    for name, file in files.items():
        if not file.exists():
            continue
        note(f"{file.name}: scoring {len(images)} of {images.total} images")
        student = eager if name == "pytorch" else load(file)
        value = score(predictions(student.predict_batch, images, f"{file.name}: scoring"), images)
        single = eager if name == "pytorch" else load(file, threads=1)
        with one_thread():
            time = milliseconds(single.predict_batch, image)
        parts = [file] if name == "pytorch" else [folder / each for each in files_of(name)]
        megabytes = sum(part.stat().st_size for part in parts) / 1e6
        records[name] = {"file": file.name, "megabytes": megabytes, "score": value, "milliseconds": time}
    return records
