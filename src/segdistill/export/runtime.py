"""A student in any format, which segments images. ONNX and OpenVINO files need no PyTorch."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdistill.data.decoding.images import Array, read_image
from segdistill.data.decoding.short_side import at_short_side
from segdistill.errors import UserError, first_line
from segdistill.export.formats import require

Run = Callable[[Array], NDArray[Any]]
"""A function of images, uint8 (N, H, W, 3), that returns what the file returns: classes or scores."""


class Student:
    """A student loaded by :func:`load`.

    Args:
        run: The function that computes the output.
        metadata: Facts of the file: ``classes``, ``palette``, ``output`` and others.
        run_resizes: Whether ``run`` itself resizes images to the student's short side; otherwise :meth:`predict` does.

    Attributes:
        classes: The names of the classes, in the order of their indices.
        palette: A color for each class.
        metadata: All facts.
    """

    def __init__(self, run: Run, metadata: Mapping[str, Any], *, run_resizes: bool = False) -> None:
        self._run = run
        self._short_side = None if run_resizes else metadata.get("short_side")
        self.metadata = dict(metadata)
        self.classes = tuple(metadata.get("classes") or ())
        self.palette = tuple(tuple(color) for color in metadata.get("palette") or ())

    def predict(self, image: str | Path | Array) -> NDArray[Any]:
        """Return the class index of every pixel, uint8 (H, W).

        A file of a student that was scored at a short side takes images of that short side: the image is resized to it,
        and the classes back, by nearest neighbor.

        Args:
            image: An image file, or RGB pixels, uint8, shape (H, W, 3).

        Raises:
            UserError: The file cannot be read, the pixels have another shape or type, or the student cannot take them.
        """
        pixels = image if isinstance(image, np.ndarray) else read_image(Path(image))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise UserError(f"pixels are uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}; convert them to RGB first")
        size = height, width = pixels.shape[0], pixels.shape[1]
        if self._short_side is not None:
            height, width = at_short_side(*size, self._short_side)
            pixels = np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        try:
            classes: NDArray[Any] = self.predict_batch(pixels[None])[0]
        except UserError:
            raise
        except Exception as error:  # ONNX Runtime raises classes of its extension module
            reason = first_line(error)[:200].rstrip(".")
            raise UserError(
                f"the student cannot take an image of {height}x{width}: {reason}; resize the image to a size that it "
                "was trained on"
            ) from error
        if (height, width) == size:
            return classes
        rows, columns = (
            ((np.arange(long) + 0.5) * short / long).astype(int)
            for long, short in zip(size, (height, width), strict=True)
        )
        classes = classes[rows[:, None], columns]
        return classes

    def predict_batch(self, images: Array) -> NDArray[Any]:
        """Return the class indices (N, H, W) of images of one size, as the file takes them, uint8 (N, H, W, 3)."""
        output = self._run(np.ascontiguousarray(images))
        if self.metadata.get("output") != "logits":
            return output
        classes: NDArray[Any] = output.argmax(1).astype(np.uint8 if output.shape[1] <= 256 else np.int32)
        return classes


def load(path: str | Path, *, trust: bool = False, threads: int | None = None) -> Student:
    """Return the student in a file, to segment images with.

    Args:
        path: An ``.onnx``, ``.pt2``, ``.xml`` or ``.pte`` file of ``segdistill export``, a run's folder, or its
            ``student.safetensors``.
        trust: Import the code that a run's folder names as its network.
        threads: Number of threads of ONNX Runtime, OpenVINO or ExecuTorch, which choose it by default. PyTorch has its
            own setting.

    Raises:
        UserError: The file does not exist, is damaged, has another format, or needs a package that is not installed.

    Example::

        student = segdistill.load("runs/folder-dist-s0/student.onnx")
        labels = student.predict("new_image.jpg")  # class indices, uint8 (H, W)
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; give an exported file or the folder of a run")
    if path.suffix == ".onnx":
        return _load_onnx(path, threads)
    if path.suffix == ".pt2":
        return _load_pt2(path)
    if path.suffix == ".xml":
        return _load_openvino(path, threads)
    if path.suffix == ".pte":
        return _load_executorch(path, threads)
    if path.is_dir() or path.suffix == ".safetensors":
        return _load_run(path, trust)
    raise UserError(f"{path} is no student: expected .onnx, .pt2, .xml, .pte, .safetensors or the folder of a run")


def onnx_session(model: str | bytes, threads: int | None = None) -> Any:
    """Return a session of ONNX Runtime on the CPU.

    Args:
        model: A file or its content.
        threads: Number of threads; by default one for each core.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _load_onnx(path: Path, threads: int | None) -> Student:
    require("onnxruntime", str(path))
    try:
        session = onnx_session(str(path), threads)
        metadata = json.loads(session.get_modelmeta().custom_metadata_map["segdistill"])
        name, output = session.get_inputs()[0].name, metadata["output"]
    except Exception as error:  # ONNX Runtime raises classes of its extension module
        raise _damaged(path) from error
    return Student(lambda images: session.run([output], {name: images})[0], metadata)


def _load_pt2(path: Path) -> Student:
    import torch

    from segdistill.export.to_pt2 import METADATA
    from segdistill.export.trace import quiet

    stored = {METADATA: ""}
    try:
        with quiet():
            module = torch.export.load(path, extra_files=stored).module()
        metadata = json.loads(stored[METADATA])
    except Exception as error:  # PyTorch raises anything for a damaged file
        raise _damaged(path) from error

    def run(images: Array) -> NDArray[Any]:
        with torch.no_grad():
            output: NDArray[Any] = module(torch.from_numpy(images)).numpy()
        return output

    return Student(run, metadata)


def _load_openvino(path: Path, threads: int | None) -> Student:
    require("openvino", str(path), "openvino")
    from segdistill.export.openvino_runtime import compiled, read

    try:
        model, metadata = read(path)
        run = compiled(model, threads)
    except Exception as error:  # OpenVINO raises anything for a damaged file
        raise _damaged(path) from error
    return Student(lambda images: run(images)[0], metadata)


def _load_executorch(path: Path, threads: int | None) -> Student:
    require("executorch", str(path), "executorch")
    from segdistill.export.executorch_runtime import ExecutorchProgram

    try:
        program = ExecutorchProgram(path.read_bytes(), threads)
    except UserError:
        raise
    except Exception as error:  # ExecuTorch raises anything for a damaged file
        raise _damaged(path) from error
    return Student(lambda images: program(images)[0].numpy(), program.metadata)


def _load_run(path: Path, trust: bool) -> Student:
    from segdistill.evaluation.prediction import Predictor
    from segdistill.models import read_description

    predictor = Predictor(path, trust=trust)
    description = read_description(path)
    return Student(lambda images: np.stack([predictor(image) for image in images]), description, run_resizes=True)


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is damaged or was not written by segdistill; export the run again")
