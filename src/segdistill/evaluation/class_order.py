"""Class names are compared where they are known on both sides; the same names in another order are put in order."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from segdistill.distillation.features import classifier_path, evaluating, probe_for, unwrap
from segdistill.distillation.running import run
from segdistill.errors import FOREIGN, UserError
from segdistill.models.student_files import read_description
from segdistill.outputs import SegOutput

_log = logging.getLogger(__name__)


def names_beside(weights: Path) -> tuple[str, ...]:
    """Return the class names of the run that a weights file belongs to; none where it belongs to none.

    Args:
        weights: A run's folder, its student's file, or one of its checkpoints.
    """
    folder = weights if weights.is_dir() else weights.parent
    if folder.name == "checkpoints":
        folder = folder.parent
    elif folder is not weights and weights.name != "student.safetensors":
        return ()
    description = folder / "student.json"
    return tuple(read_description(description).get("classes") or ()) if description.is_file() else ()


def put_in_order(
    network: nn.Module, theirs: Sequence[str], ours: Sequence[str], what: str, *, initial: Collection[str] = ()
) -> None:
    """Give a network's scores the order of the data set's classes, and say so; nothing to do where it has it.

    The rows of the classifier change places, so every feature, and whoever asks for the classifier, sees one order.

    Args:
        network: Its scores are in the order of ``theirs``; changed in place.
        theirs: The names that it was trained with; empty or made up (``class 0``, ...) where there are none.
        ours: The data set's.
        what: What the line or the error calls the network.
        initial: Names of tensors that were not loaded, and so have no order.

    Raises:
        UserError: Other names, or a network whose classifier cannot be found.
    """
    if not _are_names(theirs) or not _are_names(ours) or len(theirs) != len(ours):
        return  # unknown, or a difference in number, which is an error of its own
    old, new = [_plain(name) for name in theirs], [_plain(name) for name in ours]
    if old == new:
        return
    if set(old) != set(new) or len(set(old)) < len(old):
        raise UserError(
            f"{what} has other classes than the data set: {_shown(theirs)}; the data set: {_shown(ours)}. Take one "
            "that was trained on these classes, or, if they only have other names, name them alike in its student.json"
        )
    order = [old.index(name) for name in new]
    try:
        with evaluating(network), torch.no_grad():
            _reorder(network, order, initial)
    except FOREIGN as error:
        raise UserError(
            f"{what} has the classes in another order, {_shown(theirs)}, than the data set, {_shown(ours)}, and its "
            f"classifier cannot be put in order ({error}); list the data set's classes in that order"
        ) from None
    _log.info("%s has the classes in another order, %s; they are put in the data set's", what, _shown(theirs))


def are_other(theirs: Sequence[str], ours: Sequence[str]) -> bool:
    """Whether both sides have names, as many, and not the same ones."""
    known = _are_names(theirs) and _are_names(ours) and len(theirs) == len(ours)
    return known and sorted(map(_plain, theirs)) != sorted(map(_plain, ours))


def _reorder(network: nn.Module, order: list[int], initial: Collection[str]) -> None:
    probe = probe_for(network)
    probe = torch.rand(probe.shape, generator=torch.Generator().manual_seed(0)).to(probe)
    before = run(network, probe.clone())
    paths = [classifier_path(network, probe)]
    if before.aux is not None:
        auxiliary = _Auxiliary(network, besides=paths[0])
        paths.append(classifier_path(auxiliary, probe).removeprefix("network."))
    has_order = [f"{path}.weight" not in initial for path in paths]
    for path in (path for path, loaded in zip(paths, has_order, strict=True) if loaded):
        for parameter in unwrap(network).get_submodule(path).parameters(recurse=False):
            parameter.copy_(parameter[order])
    after = run(network, probe.clone())
    for old, new, loaded in zip(before, after, has_order, strict=False):
        if loaded and old is not None and new is not None and not _is_close(new, old[:, order]):
            raise UserError("its scores are not those of one last layer")


class _Auxiliary(nn.Module):
    """A network whose scores are its auxiliary head's; its classifier is left out of account."""

    def __init__(self, network: nn.Module, besides: str) -> None:
        super().__init__()
        self.network = unwrap(network)
        self.roles = {"aux": f"network.{besides}"}

    def forward(self, images: Tensor) -> SegOutput:
        aux = run(self.network, images).aux
        assert aux is not None
        return SegOutput(aux)


def _is_close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one.float(), other.float(), rtol=1e-2, atol=1e-3 * float(other.float().abs().max()))


def _are_names(names: Sequence[str]) -> bool:
    return bool(names) and list(names) != [f"class {index}" for index in range(len(names))]


def _plain(name: str) -> str:
    return name.strip().casefold().replace("_", " ")


def _shown(names: Sequence[str], count: int = 8) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
