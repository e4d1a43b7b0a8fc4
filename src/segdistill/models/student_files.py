"""Student files: the weights in ``student.safetensors`` and the description of the network in ``student.json``."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from segdistill.errors import UserError
from segdistill.models.builder import build
from segdistill.models.names import is_import_path
from segdistill.models.weights import load_weights
from segdistill.models.wrapper import IMAGENET_MEAN, IMAGENET_STD, Wrapped
from segdistill.outputs import aligns_corners, unwrap
from segdistill.system.atomic import replacing, write_text

REMEDY = "in a run's folder, delete this file and result.json, and repeat the run's command, which writes them again"


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

    The file has the keys of the network's ``state_dict()``. For a network from :func:`segdistill.models.wrap` it has
    the keys of the module inside, so the weights load into that module without this package.

    Args:
        network: The network, built by ``build(name, num_classes, **options)``, compiled or data-parallel or not.
        folder: The folder; created if needed.
        name, num_classes, options: The arguments of :func:`segdistill.models.build` for the network.
        classes: The names of the classes, in order.
        mean, std: The mean and standard deviation that normalize RGB images in 0..1 for the network that :func:`load`
            returns. That network converts the images to what the module inside it expects; ``student.json`` has those
            values as ``network_mean`` and ``network_std``.
        extra: More entries for ``student.json``, with values that JSON can hold.
    """
    network = unwrap(network)
    inner = unwrap(network.network) if isinstance(network, Wrapped) else network
    # Each tensor is copied, because safetensors refuses tensors that share memory. Compiled modules add _orig_mod.
    state = {
        key.replace("_orig_mod.", ""): tensor.detach().cpu().contiguous().clone()
        for key, tensor in inner.state_dict().items()
    }
    spec = {
        "model": name,
        "num_classes": num_classes,
        "options": dict(options or {}),
        "classes": list(classes),
        "mean": list(mean),
        "std": list(std),
        "network_mean": list(network.mean if isinstance(network, Wrapped) else IMAGENET_MEAN),
        "network_std": list(network.std if isinstance(network, Wrapped) else IMAGENET_STD),
        "align_corners": aligns_corners(network),
        **(extra or {}),
    }
    folder = Path(folder)
    with replacing(folder / "student.safetensors") as file:
        file.write(save(state))
    # Names of classes are readable; a surrogate that is no UTF-8, as of a file's name, becomes its escape in JSON.
    text = json.dumps(spec, indent=2, ensure_ascii=False).encode(errors="backslashreplace").decode()
    write_text(folder / "student.json", text + "\n")


def load(path: str | Path, *, trust: bool = False) -> nn.Module:
    """Return the student of a run's folder, in eval mode. :func:`read_description` returns its classes.

    Args:
        path: The folder, or either of the student's two files in it.
        trust: Whether to import the code that the file names, if its network is ``package.module:callable``.

    Raises:
        UserError: The file names code and is not trusted, a file is missing or corrupt, or the two files do not match.
    """
    description = _description_file(path)
    weights = description.with_suffix(".safetensors")
    spec = read_description(description)
    if is_import_path(spec["model"]) and not trust:
        raise UserError(
            f"{description} names code to import, '{spec['model']}'; if you trust it, give --trust (in Python "
            "trust=True)"
        )
    try:
        # Missing in files of earlier versions: a callable's network keeps its own values, any other has ImageNet's.
        imagenet = (None, None) if is_import_path(spec["model"]) else (IMAGENET_MEAN, IMAGENET_STD)
        mean, std = (spec.get(key, old) for key, old in zip(("network_mean", "network_std"), imagenet, strict=True))
        aligns = spec.get("align_corners")  # missing in files of earlier versions
        network = build(spec["model"], spec["num_classes"], mean=mean, std=std, align_corners=aligns, **spec["options"])
    except UserError as error:
        raise UserError(f"{description}: {error}") from error
    except (TypeError, KeyError, AttributeError, ValueError, RuntimeError) as error:  # options of the wrong type
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:100]}"
        raise UserError(f"{description} describes a network that cannot be built ({reason}); {REMEDY}") from error
    if not weights.is_file():
        raise UserError(f"{weights} does not exist; {REMEDY}")
    load_weights(network, weights, strict=True)
    return network.eval()


def read_description(path: str | Path) -> dict[str, Any]:
    """Return the content of a run's ``student.json``: how to build the network, its classes and their colors.

    Args:
        path: As for :func:`load`.

    Raises:
        UserError: The file is missing or malformed.
    """
    description = _description_file(path)
    if not description.is_file():
        raise UserError(f"{description} does not exist; it describes how to build the student; {REMEDY}")
    try:
        spec = json.loads(description.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise UserError(f"{description} is not JSON; {REMEDY}") from None
    if not isinstance(spec, dict):
        raise UserError(f"{description} is not a student's description: it has no keys; {REMEDY}")
    for key, (expected, fits) in FIELDS.items():
        if key not in spec and key in ("model", "num_classes", "options"):
            raise UserError(f"{description} is not a student's description: it has no '{key}'; {REMEDY}")
        if key in spec and not fits(spec[key]):
            raise UserError(f"{description}: '{key}' must be {expected}, got {repr(spec[key])[:60]}; {REMEDY}")
    classes, palette = (spec.get(key) or [] for key in ("classes", "palette"))
    if len(classes) not in (0, spec["num_classes"]) or len(palette) not in (0, len(classes)):
        raise UserError(
            f"{description}: there are {spec['num_classes']} classes, but {len(classes)} names and {len(palette)} "
            f"colors; {REMEDY}"
        )
    return spec


def description_beside(weights: Path) -> dict[str, Any]:
    """Return the description of the run that a weights file belongs to; empty if it belongs to no run.

    Args:
        weights: A run's folder, its student's file, or one of its checkpoints.

    Raises:
        UserError: See :func:`read_description`.
    """
    folder = weights if weights.is_dir() else weights.parent
    if folder.name == "checkpoints":
        folder = folder.parent
    elif folder is not weights and weights.name != "student.safetensors":
        return {}
    description = folder / "student.json"
    return read_description(description) if description.is_file() else {}


def _description_file(path: str | Path) -> Path:
    path = Path(path)
    return path / "student.json" if path.is_dir() else path.with_suffix(".json")


def _all(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(kind(each) for each in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_length(value: object) -> bool:
    return type(value) is int and value > 0


def _is_color(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(each) is int and 0 <= each < 256 for each in value)


# The fields of student.json, each with the expected value in words and a check of it.
FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "model": ("a name", lambda value: isinstance(value, str)),
    "num_classes": ("a whole number, 1 or more", _is_length),
    "options": ("keys with values", lambda value: isinstance(value, dict)),
    "classes": ("a list of names", _all(lambda value: isinstance(value, str))),
    "palette": ("a list of [red, green, blue] in 0..255", _all(_is_color)),
    "mean": ("three numbers", lambda value: _all(_is_number)(value) and len(value) == 3),
    "std": ("three numbers", lambda value: _all(_is_number)(value) and len(value) == 3),
    "network_mean": ("three numbers", lambda value: _all(_is_number)(value) and len(value) == 3),
    "network_std": ("three numbers", lambda value: _all(_is_number)(value) and len(value) == 3),
    "align_corners": ("true or false", lambda value: isinstance(value, bool)),
    "void": ("a list of whole numbers", _all(lambda value: type(value) is int)),
    "scale": ("a number above 0", lambda value: _is_number(value) and value > 0),
    "short_side": ("a whole number, 1 or more", _is_length),
    "window": ("a height and a width, 1 or more", lambda value: _all(_is_length)(value) and len(value) == 2),
    "stride": ("a height and a width, 1 or more", lambda value: _all(_is_length)(value) and len(value) == 2),
}
