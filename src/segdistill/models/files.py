"""A student's file: ``student.safetensors`` beside ``student.json``, which says how to build the network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from segdistill.atomic import replacing, write_text
from segdistill.errors import UserError
from segdistill.models.builder import build
from segdistill.models.weights import load_weights
from segdistill.models.wrapper import IMAGENET_MEAN, IMAGENET_STD, Wrapped


def save_student(
    network: nn.Module,
    folder: str | Path,
    *,
    name: str,
    num_classes: int,
    options: Mapping[str, object] | None = None,
    classes: Sequence[str] = (),
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Write ``student.safetensors`` and ``student.json`` into ``folder``, each atomically.

    The keys are those of the network's ``state_dict()``, or of the module inside
    :func:`segdistill.models.wrap`, so they load into that module without this package.

    Args:
        network: The network, built by ``build(name, num_classes, **options)``.
        folder: Created if needed.
        name, num_classes, options: How to build the network.
        classes: The classes' names, in order.
        mean, std: What RGB images in 0..1 are normalised with before :func:`load`'s network sees them.
        extra: More entries for ``student.json``; whatever JSON can hold.
    """
    inner = network.network if isinstance(network, Wrapped) else network
    # A copy of each, because safetensors refuses tensors that share memory.
    state = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in inner.state_dict().items()}
    spec = {
        "model": name,
        "num_classes": num_classes,
        "options": dict(options or {}),
        "classes": list(classes),
        "mean": list(mean),
        "std": list(std),
        **(extra or {}),
    }
    folder = Path(folder)
    with replacing(folder / "student.safetensors") as file:
        file.write(save(state))
    write_text(folder / "student.json", json.dumps(spec, indent=2) + "\n")


def load(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Build a student from its file, in eval mode, and return it with the content of ``student.json``.

    Args:
        path: The folder, or either of the two files in it.

    Raises:
        UserError: A file is missing or corrupt, or the two do not belong together.
    """
    path = Path(path)
    description = (path / "student.json") if path.is_dir() else path.with_suffix(".json")
    if not description.is_file():
        raise UserError(f"{description} does not exist; it says how to build the student")
    try:
        spec = json.loads(description.read_text(encoding="utf-8"))
        name, num_classes, options = spec["model"], spec["num_classes"], spec["options"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{description} is not a student's description: {error!r}") from error
    network = build(name, num_classes, **options)
    load_weights(network, description.with_suffix(".safetensors"), strict=True)
    return network.eval(), spec
