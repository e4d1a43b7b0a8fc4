"""Tracing of a program for any batch, height and width."""

import io
import logging
import math
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx import Graph, Node

from segdistill.errors import UserError, first_line
from segdistill.export.pooling import replaced_pooling
from segdistill.export.program import Program

AXES = {0: "batch", 1: "height", 2: "width"}

# A batch of one would be traced as a constant. The sides differ, so that no two axes are taken for one.
_EXAMPLE = (2, 160, 192, 3)


def trace(program: nn.Module, largest: tuple[int, int] | None = None) -> ExportedProgram:
    """Return the traced program.

    Args:
        program: A module that takes images, uint8 (N, H, W, 3).
        largest: The greatest height and width, for one image at a time; without it, batch and sides are free.

    Raises:
        UserError: PyTorch cannot trace the network for any size.
    """
    count, *sides = _EXAMPLE
    dims: dict[int, Any] = dict.fromkeys(AXES, Dim.DYNAMIC)
    if largest is not None:
        count = 1
        dims = {1: Dim.DYNAMIC(max=largest[0]), 2: Dim.DYNAMIC(max=largest[1])}
    images = torch.zeros((count, *sides), dtype=torch.uint8)
    try:
        with quiet(), replaced_pooling(program), torch.no_grad():
            exported = torch.export.export(program, (images,), dynamic_shapes=(dims,), strict=False)
    except Exception as error:  # the tracer raises anything
        raise UserError(
            f"PyTorch cannot export {_network_of(program)} for images of any size: "
            f"{first_line(error)[:200]}; use a network without decisions that depend on the size"
        ) from error
    _write_ceil_as_division(exported.graph)
    exported.graph_module.recompile()
    return exported


def _network_of(program: nn.Module) -> str:
    names = [type(each.network).__name__ for each in program.modules() if isinstance(each, Program)]
    return names[0] if names else type(program).__name__


def _write_ceil_as_division(graph: Graph) -> None:
    """Replace ``ceil(a / b)`` of sizes by ``(a - 1) // b + 1``: a file of torch.export cannot hold ``ceil``."""
    for node in list(graph.nodes):
        quotient = node.args[0] if node.target is math.ceil else None
        if isinstance(quotient, Node) and quotient.target is operator.truediv:
            length, divisor = quotient.args
            with graph.inserting_before(node):
                floor = _call(graph, operator.floordiv, _call(graph, operator.sub, length, 1), divisor)
                node.replace_all_uses_with(_call(graph, operator.add, floor, 1))
            graph.erase_node(node)
            if not quotient.users:
                graph.erase_node(quotient)


def _call(graph: Graph, function: Callable[..., Any], *arguments: Any) -> Node:
    node = graph.call_function(function, arguments)
    node.meta["val"] = function(*(each.meta["val"] if isinstance(each, Node) else each for each in arguments))
    return node


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings, logs and prints of exporters."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
