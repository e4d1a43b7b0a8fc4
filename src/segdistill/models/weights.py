"""Weights files: loaded into the part of a network that they fit, with a report of what was loaded."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from segdistill.errors import UserError, few, unknown

_CONTAINERS = ("student", "state_dict", "model_state_dict", "model", "network")
# The number of leading names of a key that may differ between file and network, as in "network.encoder.model.".
_MAX_PREFIX = 3


@dataclass(frozen=True)
class LoadReport:
    """A report of what :func:`load_weights` loaded. It does not count batch norm's ``num_batches_tracked``.

    Attributes:
        path: The file.
        where: The submodule that was filled, ``""`` for the whole network.
        matched: Number of tensors loaded.
        in_file: Number of tensors in the file: matched + mismatched + unused.
        in_network: Number of tensors in the network: matched + initial.
        unused: Names in the file that the network does not have.
        initial: Names in the network that keep their initial values, mismatched ones included.
        mismatched: Names in the file that the network has with another shape, each with both shapes.
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
        """Return one line, and a second one with what was not loaded if there is any."""
        target = f"the network's '{self.where}'" if self.where else "the network"
        first = f"{self.path.name}: {self.matched} of {self.in_file} tensors loaded into {target}"
        rest = [
            f"{title}: {few(names, 3)}"
            for title, names in (
                ("unused", self.unused),
                ("other shape", self.mismatched),
                (f"{len(self.initial)} of the network's {self.in_network} keep initial values", self.initial),
            )
            if names
        ]
        return "\n  ".join([first, "; ".join(rest)]) if rest else first


def load_weights(module: nn.Module, path: str | Path, *, strict: bool = False, key: str | None = None) -> LoadReport:
    """Load a weights file into the network, or into the part of it that the file fits.

    The prefixes of names in the file and in the network may differ (``backbone.``, ``encoder.``, ``module.``, none):
    the function takes the pair of prefixes under which most tensors agree in name and shape. Values are cast to the
    network's dtype.

    Args:
        module: The network; its tensors are changed in place.
        path: A ``.safetensors`` file, a file that ``torch.load(weights_only=True)`` reads, or a folder with
            ``student.safetensors``.
        strict: Whether every tensor of the network must be in the file.
        key: The network to load if the file holds several: an entry of the file, or the prefix of the tensors' names.

    Raises:
        UserError: The file does not exist, is corrupt, holds no tensors, holds several networks and ``key`` is not
            given, does not fit (less than half of the tensors match, of the file or the network, whichever has fewer),
            or, if ``strict``, does not have all tensors.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "student.safetensors"
    renames = getattr(module, "key_renames", ())
    state = dict(module.state_dict())
    file = {_rename(name, renames): tensor for name, tensor in _read(path, key, state).items()}

    file_prefix, prefix = _find_place(file, state)
    matched: dict[str, Tensor] = {}
    unused, mismatched = [], []
    for key, tensor in file.items():
        name = prefix + key.removeprefix(file_prefix) if key.startswith(file_prefix) else ""
        if name not in state:
            unused.append(key)
        elif state[name].shape != tensor.shape:
            mismatched.append(f"{key} {_shape(tensor)} for {_shape(state[name])}")
        else:
            matched[name] = tensor
    report = LoadReport(
        path=path,
        where=prefix.removesuffix("."),
        matched=len(_counted(matched)),
        in_file=len(_counted(file)),
        in_network=len(_counted(state)),
        unused=_counted(unused),
        initial=_counted(name for name in state if name not in matched),
        mismatched=tuple(mismatched),
    )
    _check_fit(report)
    if strict and report.initial:
        raise UserError(
            f"{path} does not fill the network: {len(report.initial)} of {report.in_network} tensors would "
            f"keep random values: {few(report.mismatched or report.initial, 3)}; "
            "is it for another network, or another number of classes?"
        )
    module.load_state_dict(matched, strict=False)
    return report


def _read(path: Path, key: str | None, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    content = _content(path)
    if key is not None:
        return _chosen(content, key, path)
    networks = _networks(content)
    while not _tensors(content) and len(networks) == 1 and next(iter(networks)) in _CONTAINERS:
        content = next(iter(networks.values()))
        networks = _networks(content)
    tensors = _tensors(content)
    if not tensors and networks:
        names = ", ".join(f"'{name}'" for name in networks)
        content_text = f"{len(networks)} networks, under {names}" if len(networks) > 1 else f"its tensors under {names}"
        raise UserError(f"{path} holds {content_text}; {_choice(next(iter(networks)))}")
    if not tensors:
        raise UserError(f"{path} holds no named tensors; expected a network's state_dict()")
    prefixes = _twins(tensors, state)
    if prefixes:
        shown = " and ".join(f"'{prefix}.'" for prefix in prefixes[:4])
        raise UserError(
            f"{path} holds {len(prefixes)} networks, whose names begin with {shown}; {_choice(prefixes[0])}"
        )
    return tensors


def _choice(name: str) -> str:
    return (
        f"name it with weights_key={name} (in a recipe teacher.weights_key or student.weights_key; in Python key= of "
        "models.load_weights)"
    )


def _content(path: Path) -> Mapping[str, Any]:
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
    return content if isinstance(content, Mapping) else {}


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _networks(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the entries that contain a network at any depth.

    An entry with less than half of the tensors of the largest is not a network.
    """
    sizes = {
        str(name): max((len(_tensors(each)) for each in _nested(value)), default=0)
        for name, value in content.items()
        if isinstance(value, Mapping)
    }
    least = max(sizes.values(), default=0) / 2
    return {name: content[name] for name, size in sizes.items() if size and size >= least}


def _nested(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a mapping and the mappings in it, at any depth."""
    yield content
    for value in content.values():
        if isinstance(value, Mapping):
            yield from _nested(value)


def _chosen(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Tensor]:
    """Return one of several networks: an entry of the file, at any depth, or the tensors with a prefix."""
    for level in _nested(content):
        entry = level.get(key)
        if isinstance(entry, Mapping):
            for inner in _nested(entry):
                if tensors := _tensors(inner):
                    return tensors
        prefix = f"{key.removesuffix('.')}."
        if tensors := {
            name.removeprefix(prefix): tensor for name, tensor in _tensors(level).items() if name.startswith(prefix)
        }:
            return tensors
    keys = {name for level in _nested(content) for name in _networks(level)}
    keys |= {name.partition(".")[0] for level in _nested(content) for name in _tensors(level) if "." in name}
    raise unknown("weights_key", key, keys, hint=f"in {path}")


def _twins(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Return the prefixes of several networks in one file: those after which mostly the same names follow.

    The list is empty if the network that is filled has all these prefixes itself.
    """
    suffixes: defaultdict[str, set[str]] = defaultdict(set)
    for name in _counted(tensors):
        first, _, rest = name.partition(".")
        suffixes[first].add(rest)
    fits = {rest for name in state for _, rest in _splits(name)}
    candidates = [first for first, rests in suffixes.items() if 2 * len(rests & fits) > len(rests) and len(rests) > 1]
    twins = [
        one
        for one in candidates
        if any(one != other and 2 * len(suffixes[one] & suffixes[other]) > len(suffixes[one]) for other in candidates)
    ]
    names = {first for key in state for first in key.split(".")[:-1]}
    return twins if len(twins) > 1 and not set(twins) <= names else []


def _find_place(file: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[str, str]:
    """Return the prefixes (in the file, in the network) after which most tensors agree in name and shape."""
    homes: defaultdict[tuple[str, torch.Size], list[str]] = defaultdict(list)
    for key in _counted(state):
        for prefix, rest in _splits(key):
            homes[rest, state[key].shape].append(prefix)
    votes: Counter[tuple[str, str]] = Counter()
    for key in _counted(file):
        for file_prefix, rest in _splits(key):
            votes.update((file_prefix, prefix) for prefix in homes.get((rest, file[key].shape), ()))
    return max(votes, key=lambda pair: (votes[pair], -len(pair[0] + pair[1])), default=("", ""))


def _splits(key: str) -> Iterator[tuple[str, str]]:
    parts = key.split(".")
    for count in range(min(_MAX_PREFIX + 1, len(parts))):
        prefix = ".".join(parts[:count])
        yield prefix + "." if prefix else "", ".".join(parts[count:])


def _check_fit(report: LoadReport) -> None:
    """Raise if few tensors match: any two networks have some in common, such as a first convolution."""
    if 2 * report.matched < min(report.in_file, report.in_network):
        raise UserError(
            f"{report.path} does not fit the network: {report.matched} of its {report.in_file} tensors "
            f"match; it has {few(report.unused or report.mismatched, 3)}; "
            f"the network has {few(report.initial, 3)}"
        )


def _rename(key: str, renames: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key


def _counted(names: Iterator[str] | Mapping[str, Tensor] | list[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not name.endswith("num_batches_tracked"))


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
