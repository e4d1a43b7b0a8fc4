"""Names of features: each is a role that a network publishes, or names a tensor of a module.

backbone.layer4      the output of that module
classifier.4:input   the first input of that module
encoder[2]           an item of an output that is a list or a dict; also encoder[0][2]
layers.3:nhwc        any of these if the channels come last, as in a Swin transformer
stage4:pre           a role or an output before its last activation, such as a ReLU
"""

import re
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from segdistill.distillation.hooks import Hook, Pass, Tap, register, remove
from segdistill.distillation.modes import evaluating
from segdistill.distillation.running import run
from segdistill.errors import UserError, unknown
from segdistill.outputs import SegOutput, unwrap

OUTPUTS = ("logits", "aux")
_TAP = re.compile(r"^(?P<path>[^:\[\]]+)(?:(?P<input>:input)|(?P<item>(?:\[[^\]]+\])+))?$")
LAST = ":nhwc"
_PRE = ":pre"


def roles(network: nn.Module) -> dict[str, str]:
    """Return the roles that a network publishes, as a mapping of roles to taps."""
    return dict(getattr(unwrap(network), "roles", {}))


def resolve(network: nn.Module, name: str, probe: Tensor) -> Tap:
    """Return the tap that ``name`` refers to in ``network``.

    A path may leave out leading modules if the rest is unique. If the network does not publish ``head``, it is the
    input of the layer that computes the logits. ``NAME:pre`` is the input of the activation that computes ``NAME``. A
    feature that no activation module computes, such as the output of a linear bottleneck, is its own pre-activation.

    Raises:
        UserError: An unknown name; the message suggests the nearest role or module path.
    """
    if name.endswith(_PRE):
        return resolved(network, [name], probe)[name]
    bare = name.removesuffix(LAST)
    text = roles(network).get(bare)
    if text is None and bare == "head":
        text = f"{classifier_path(network, probe)}:input"
    text = text or bare
    match = _TAP.match(text.removesuffix(LAST))
    paths = [path for path, _ in unwrap(network).named_modules() if path]
    if match:
        path = match["path"]
        matches = [path] if path in paths else [p for p in paths if p.endswith(f".{path}")]
        if len(matches) == 1:
            is_last = bare != name or text.endswith(LAST)
            item = match["item"][1:-1] if match["item"] else None
            return Tap(matches[0], is_input=match["input"] is not None, item=item, is_last=is_last)
    known = [*OUTPUTS, "head", *roles(network), *paths]
    hint = "(segdistill taps MODEL lists them all)"
    raise unknown(f"feature of {type(unwrap(network)).__name__}", bare, known, hint=hint)


def resolved(network: nn.Module, names: Iterable[str], probe: Tensor) -> dict[str, Tap]:
    """Return the tap of each name. One forward pass finds the activations of all names that end in ``:pre``."""
    taps = {name: resolve(network, name.removesuffix(_PRE), probe) for name in names}
    before = {name: tap for name, tap in taps.items() if name.endswith(_PRE)}
    return {**taps, **_before_activations(network, before, probe)} if before else taps


def _before_activations(network: nn.Module, taps: dict[str, Tap], probe: Tensor) -> dict[str, Tap]:
    """Return the taps of the inputs of the activations whose outputs ``taps`` read; a tap of no activation stays."""
    current = Pass(features={})
    outputs: list[tuple[str, Tensor]] = []

    def note(path: str, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.append((path, output))

    handles = [register(network, Hook(current, name, replace(tap, is_last=False))) for name, tap in taps.items()]
    for path, module in unwrap(network).named_modules():
        if _is_activation(module):
            handles.append(module.register_forward_hook(lambda *values, p=path: note(p, values[-1])))
    probed(network, probe, handles)
    values, matches = current.features or {}, dict(taps)
    for name, tap in taps.items():
        for path, output in outputs:  # the last one counts: an in-place activation returns its input
            if name in values and _is_same(output, values[name]):
                matches[name] = Tap(path, is_input=True, is_last=tap.is_last)
    return matches


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


def _is_activation(module: nn.Module) -> bool:
    """Return True for an activation of PyTorch or timm: their files are called activation and activations."""
    return type(module).__module__.rpartition(".")[2].startswith("activation") and not list(module.children())


def classifier_path(network: nn.Module, probe: Tensor) -> str:
    """Return the path of the last convolution or linear layer with one output for each class.

    The layers of an auxiliary head are left out.

    Raises:
        UserError: There is no such layer, so the network must publish its head.
    """
    called: list[tuple[str, int]] = []

    def note(path: str, channels: int) -> None:
        called.append((path, channels))

    handles = []
    for path, module in unwrap(network).named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            channels = module.out_channels if isinstance(module, nn.Conv2d) else module.out_features
            handles.append(module.register_forward_hook(lambda *_, p=path, c=channels: note(p, c)))
    output = probed(network, probe, handles)
    aux = roles(network).get("aux")
    for path, channels in reversed(called):
        # Without a published role, a module whose name starts with "aux" is taken for the auxiliary head.
        is_aux = path.startswith("aux") if aux is None else f"{path}.".startswith(f"{aux}.")
        if channels == output.logits.shape[1] and not is_aux:
            return path
    raise UserError(
        f"cannot tell which layer of {type(unwrap(network)).__name__} is the classifier; "
        "name a feature by its module path instead of 'head', or give models.wrap(roles={'head': ...})"
    )


def probed(network: nn.Module, probe: Tensor, handles: list[RemovableHandle]) -> SegOutput:
    """Run a network on a copy of ``probe``, in eval mode and without gradients, and then remove the hooks."""
    try:
        with evaluating(network), torch.no_grad():
            return run(network, probe.clone())
    finally:
        remove(handles)


def probe_for(network: nn.Module, size: int = 128) -> Tensor:
    """Return a black image of shape (1, 3, size, size), on the device and in the dtype of the network's parameters."""
    parameter = next(network.parameters(), torch.empty(0))
    return torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)
