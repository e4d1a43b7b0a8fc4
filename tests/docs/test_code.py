"""Python blocks of the pages run, in their order, in one namespace for each page."""

import importlib.util
import runpy
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
import torch
from PIL import Image
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from tests.docs.pages import PAGES, ROOT, blocks
from tests.networks import sequential

Names = dict[str, Any]


def _loop() -> Names:
    images, labels = torch.randn(2, 3, 32, 32), torch.randint(4, (2, 32, 32))
    batches = [(images, labels), (images, labels)]
    return {"student": sequential(), "teacher": sequential(), "images": images, "labels": labels, "batches": batches}


def _replay() -> Names:
    from segdistill import Distiller

    names = _loop()
    distiller = Distiller(names["student"], names["teacher"], "kd")
    return {**names, "distiller": distiller, "stored": {"logits": torch.randn(2, 4, 8, 8)}}


def _python() -> Names:
    Image.new("RGB", (160, 96)).save("image.png")
    return {}


def _extend() -> Names:
    example = runpy.run_path(str(ROOT / "examples" / "street_images.py"))
    example["COUNTS"].update(train=2, val=2)
    example["main"](Path("my_images"))
    return _loop()


def _export() -> Names:
    import numpy as np
    import onnxruntime

    from segdistill.export.openvino_runtime import imported
    from segdistill.jobs.distill import distill
    from segdistill.jobs.export import export
    from tests.tiny import TINY

    folder = Path("runs/folder-dist-s0")
    distill("quickstart", [*TINY, "baseline=false"], run_dir=folder)
    openvino = imported() if importlib.util.find_spec("openvino") else None
    export(folder, formats="onnx,pt2" if openvino is None else "onnx,pt2,openvino", trust=True)
    Image.new("RGB", (160, 96)).save("image.png")
    for file in folder.glob("student.*"):
        Path(file.name).symlink_to(file)
    images = np.zeros((2, 40, 50, 3), np.uint8)
    return {"images": images, "onnxruntime": onnxruntime, "openvino": openvino, "torch": torch}


SETUPS: dict[str, Callable[[], Names]] = {
    "export": _export,
    "extend": _extend,
    "loop": _loop,
    "python": _python,
    "replay": _replay,
}
SYBIL = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()])
# Run by tests/reports/test_differences.py, tests/models/test_plain_loading.py and test_tutorial.py.
ELSEWHERE = ("compare", "runs", "tutorial")
WITH_CODE = [
    page for page in PAGES if blocks(page.read_text(encoding="utf-8"), "python") and page.stem not in ELSEWHERE
]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_it_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    document = SYBIL.parse(page)
    document.namespace.update(SETUPS[page.stem]())
    for example in document.examples():
        with suppress(SkipTest):  # of a block after a comment "skip: next if(...)"
            example.evaluate()


def test_a_block_that_fails_is_reported(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    first, second = SYBIL.parse(page).examples()
    first.evaluate()
    with pytest.raises(AssertionError):
        second.evaluate()
