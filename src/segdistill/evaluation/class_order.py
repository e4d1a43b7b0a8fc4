"""Class names of a network and a data set: compared if both are known; a different order is adapted."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from segdistill.distillation.modes import evaluating
from segdistill.distillation.running import run
from segdistill.distillation.taps import classifier_path, probe_for
from segdistill.errors import FOREIGN, UserError, few
from segdistill.models.student_files import description_beside
from segdistill.outputs import SegOutput, unwrap

_log = logging.getLogger(__name__)


def names_beside(weights: Path) -> tuple[str, ...]:
    """Return the class names of the run that a weights file belongs to; empty if it belongs to no run.

    Args:
        weights: A run's folder, its student's file, or one of its checkpoints.
    """
    return tuple(description_beside(weights).get("classes") or ())


def put_in_order(
    network: nn.Module, names: Sequence[str], classes: Sequence[str], what: str, *, initial: Collection[str] = ()
) -> None:
    """Reorder a network's scores to the order of the data set's classes, and log it; do nothing if the orders agree.

    The function permutes the rows of the classifier, so the logits, every feature and the classifier agree.

    Args:
        network: The network, with scores in the order of ``names``; changed in place.
        names: The class names that the network was trained with; empty or generated (``class 0``, ...) if unknown.
        classes: The class names of the data set.
        what: The name of the network in the log and in errors.
        initial: Names of tensors that were not loaded and so have no order.

    Raises:
        UserError: The names differ, or the classifier of the network cannot be found.
    """
    if not _are_names(names) or not _are_names(classes) or len(names) != len(classes):
        return  # names are unknown, or their numbers differ, which raises another error
    old, new = [_plain(name) for name in names], [_plain(name) for name in classes]
    if old == new:
        return
    if set(old) != set(new) or len(set(old)) < len(old):
        raise UserError(
            f"{what} has other classes than the data set: {few(names, 8)}; the data set: {few(classes, 8)}; take one "
            "that was trained on these classes or, if only the names differ, change them in its student.json"
        )
    order = [old.index(name) for name in new]
    try:
        with evaluating(network), torch.no_grad():
            _reorder(network, order, initial)
    except FOREIGN as error:
        raise UserError(
            f"{what} has the classes in another order, {few(names, 8)}, than the data set, {few(classes, 8)}, and its "
            f"classifier cannot be reordered ({error}); list the data set's classes in the order of {what}"
        ) from None
    _log.info("%s has the classes in another order, %s; its scores are reordered", what, few(names, 8))


def are_other(names: Sequence[str], classes: Sequence[str]) -> bool:
    """Return True if the names of both are known and equal in number, but differ."""
    known = _are_names(names) and _are_names(classes) and len(names) == len(classes)
    return known and sorted(map(_plain, names)) != sorted(map(_plain, classes))


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
            raise UserError("its scores are not the output of one last layer")


class _Auxiliary(nn.Module):
    """A network that returns the scores of its auxiliary head as logits.

    Its classifier has the role ``aux``, so that :func:`classifier_path` skips it.
    """

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
