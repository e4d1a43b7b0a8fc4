"""Weights files: found out where in a network they fit, and told what was loaded."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from segdistill.errors import UserError

_CONTAINERS = ("student", "state_dict", "model_state_dict", "model", "network")
# How many leading names of a key may differ between file and network: "module.backbone.",
# "network.encoder.model.".
_MAX_PREFIX = 3


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_weights` did. Batch norm's counters of batches are in none of the numbers.

    Attributes:
        path: The file.
        where: The submodule that was filled, ``""`` for the whole network.
        matched: Number of tensors loaded.
        in_file: Number of tensors in the file: matched + mismatched + unused.
        in_network: Number of tensors in the network: matched + initial.
        unused: Names in the file that the network does not have.
        initial: Names in the network that keep their initial values, mismatched ones among them.
        mismatched: Names in the file that the network has with another shape, and both shapes.
    """

    path: Path
    where: str
    matched: int
    in_file: int
    in_network: int
    unused: tuple[str, ...]
    initial: tuple[str, ...]
    mismatched: tuple[str, ...]

    def __str__(self) -> str:
        """One line if everything was loaded, otherwise a second one with what was not."""
        place = f"the network's '{self.where}'" if self.where else "the network"
        first = f"{self.path.name}: {self.matched} of {self.in_file} tensors loaded into {place}"
        rest = [
            f"{title}: {_first(found)}"
            for title, found in (
                ("unused", self.unused),
                ("other shape", self.mismatched),
                (f"{len(self.initial)} of the network's {self.in_network} keep initial values", self.initial),
            )
            if found
        ]
        return "\n  ".join([first, "; ".join(rest)]) if rest else first


def load_weights(module: nn.Module, path: str | Path, *, strict: bool = False) -> LoadReport:
    """Load a weights file into the network, or into the part of it that the file fits.

    File and network may name a part differently (``backbone.``, ``encoder.``, ``module.``, nothing): the pair
    of prefixes under which most tensors agree in name and shape is taken. Values are cast to the network's
    dtype.

    Args:
        module: The network; its tensors are changed in place.
        path: A ``.safetensors`` file, anything that ``torch.load(weights_only=True)`` reads, or a folder with
            ``student.safetensors``.
        strict: Every tensor of the network must be in the file.

    Raises:
        UserError: The file does not exist, is corrupt, holds no tensors, does not fit (less than half of the
            file and of the network agree), or, if ``strict``, leaves something out.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "student.safetensors"
    renames = getattr(module, "key_renames", ())
    file = {_rename(key, renames): tensor for key, tensor in _read(path).items()}
    own = dict(module.state_dict())

    theirs, ours = _find_place(file, own)
    matched: dict[str, Tensor] = {}
    unused, mismatched = [], []
    for key, tensor in file.items():
        name = ours + key.removeprefix(theirs) if key.startswith(theirs) else ""
        if name not in own:
            unused.append(key)
        elif own[name].shape != tensor.shape:
            mismatched.append(f"{key} {_shape(tensor)} for {_shape(own[name])}")
        else:
            matched[name] = tensor
    report = LoadReport(
        path=path,
        where=ours.removesuffix("."),
        matched=len(_counted(matched)),
        in_file=len(_counted(file)),
        in_network=len(_counted(own)),
        unused=_counted(unused),
        initial=_counted(name for name in own if name not in matched),
        mismatched=tuple(mismatched),
    )
    _check_fit(report)
    if strict and report.initial:
        raise UserError(
            f"{path} does not fill the network: {len(report.initial)} of {report.in_network} tensors would "
            f"keep random values: {_first(report.mismatched or report.initial)}; "
            "is it for another network, or another number of classes?"
        )
    module.load_state_dict(matched, strict=False)
    return report


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist")
    content: object
    if path.suffix == ".safetensors":
        try:
            content = load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is not a safetensors file, or is incomplete: {error}") from error
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen kinds, depending on where the file is broken
            raise UserError(
                f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is corrupt, or holds "
                "more than tensors; save the network's state_dict() alone"
            ) from error
    while isinstance(content, Mapping):
        inner = [content[name] for name in _CONTAINERS if isinstance(content.get(name), Mapping)]
        if not inner:
            tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
            if tensors:
                return tensors
            break
        content = inner[0]
    raise UserError(f"{path} holds no named tensors; expected a network's state_dict()")


def _find_place(file: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[str, str]:
    """Return the prefixes (in the file, in the network) under which most tensors agree."""
    homes: defaultdict[tuple[str, torch.Size], list[str]] = defaultdict(list)
    for key in _counted(own):
        for prefix, rest in _splits(key):
            homes[rest, own[key].shape].append(prefix)
    votes: Counter[tuple[str, str]] = Counter()
    for key in _counted(file):
        for theirs, rest in _splits(key):
            votes.update((theirs, ours) for ours in homes.get((rest, file[key].shape), ()))
    return max(votes, key=lambda pair: (votes[pair], -len(pair[0] + pair[1])), default=("", ""))


def _splits(key: str) -> Iterator[tuple[str, str]]:
    parts = key.split(".")
    for count in range(min(_MAX_PREFIX + 1, len(parts))):
        prefix = ".".join(parts[:count])
        yield prefix + "." if prefix else "", ".".join(parts[count:])


def _check_fit(report: LoadReport) -> None:
    """Refuse the few tensors that any two networks have in common, such as a first convolution."""
    if 2 * report.matched < min(report.in_file, report.in_network):
        raise UserError(
            f"{report.path} does not fit the network: {report.matched} of its {report.in_file} tensors "
            f"match; it has {_first(report.unused or report.mismatched)}; "
            f"the network has {_first(report.initial)}"
        )


def _rename(key: str, renames: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key


def _counted(names: Iterator[str] | Mapping[str, Tensor] | list[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not name.endswith("num_batches_tracked"))


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first(names: tuple[str, ...], count: int = 3) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
