"""Features by name: read any layer of any network during its forward pass, without editing the network.

A name is a role that the network publishes (``stage1`` .. ``stage4``, ``head``), ``logits`` or ``aux``, or a tap:

    backbone.layer4      the output of that module
    classifier.4:input   its first input
    encoder[2]           an item of an output that is a list or a dict
    layers.3:nhwc        any of these where the channels come last, as in a Swin transformer
"""

import re
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.hooks import RemovableHandle

from segdistill.distillation.running import Runner, run, version
from segdistill.errors import UserError, unknown
from segdistill.outputs import SegOutput

OUTPUTS = ("logits", "aux")
_TAP = re.compile(r"^(?P<path>[^:\[\]]+)(?:(?P<input>:input)|\[(?P<item>[^\]]+)\])?$")
_LAST = ":nhwc"


@dataclass(frozen=True)
class Tap:
    """One place in a network: the output of the module at ``path``, its first input, or an item of the output.

    Its channels come second, or last.
    """

    path: str
    is_input: bool = False
    item: str | None = None
    is_last: bool = False


class FeatureReader:
    """Runs a network and returns the named features of that pass.

    The names are resolved once, with one forward pass of ``probe``; a feature that a later in-place operation
    overwrites (an in-place ReLU behind a batch norm, say) is found in that pass and copied from then on. A
    module that is called several times in a pass gives its last call.

    Args:
        network: Any module whose output :func:`segdistill.outputs.read_output` understands.
        names: Roles, ``logits``, ``aux`` or taps.
        probe: An image batch, shape (N, 3, H, W).

    Attributes:
        shapes: The shape of every feature in the pass of ``probe``; ``aux`` among them where there is such a head.

    Raises:
        UserError: A name that the network does not have; the nearest one is offered.
    """

    def __init__(self, network: nn.Module, names: Iterable[str], probe: Tensor) -> None:
        self.network = network
        self.names = tuple(dict.fromkeys(names))
        self._pass = _Pass()
        self._run = Runner()
        taps = {name: resolve(network, name, probe) for name in self.names if name not in OUTPUTS}
        hooks = {name: _Hook(self._pass, name, tap) for name, tap in taps.items()}
        handles = [_register(network, hook) for hook in hooks.values()]
        # The hooks go with the reader: a student that outlives its Distiller is as it was before.
        weakref.finalize(self, _remove, handles)
        self.shapes = self._probe(probe, hooks)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return the features of one forward pass, by name; ``logits`` always among them."""
        self._pass.features = features = {}
        try:
            output = self._run(self.network, images)
        finally:
            self._pass.features = None
        features["logits"] = output.logits
        if output.aux is not None:
            features["aux"] = output.aux
        return features

    def _probe(self, probe: Tensor, hooks: dict[str, "_Hook"]) -> dict[str, torch.Size]:
        with evaluating(self.network), torch.no_grad():
            features = self(probe)
        for name in self.names:
            if name == "aux" and "aux" not in features:
                raise UserError(f"{type(self.network).__name__} has no auxiliary head, so no feature 'aux'")
            if not isinstance(features.get(name), Tensor):
                raise UserError(
                    f"feature '{name}' of {type(self.network).__name__} is not a tensor; "
                    "name an item of it, as in 'encoder[2]', or a module inside it"
                )
        for name, feature in features.items():
            _check_layout(name, feature, hooks[name].tap if name in hooks else None, probe)
        # An in-place dropout overwrites in training only, where this pass cannot see it.
        hidden = any(isinstance(module, _DropoutNd) and module.inplace for module in self.network.modules())
        for name, hook in hooks.items():
            hook.copies = hidden or version(features[name]) != hook.version
        return {name: feature.shape for name, feature in features.items()}


@dataclass
class _Pass:
    """Where hooks leave features while a reader's forward pass is under way; None at any other time."""

    features: dict[str, Tensor] | None = None


class _Hook:
    """A forward hook that keeps one feature; a class, so that a hooked network can still be pickled."""

    def __init__(self, current: _Pass, name: str, tap: Tap) -> None:
        self.current, self.name, self.tap = current, name, tap
        self.copies = False
        self.version: int | None = None

    def __call__(
        self, module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object = None
    ) -> None:
        if self.current.features is None:
            return
        value = next(iter((*args, *kwargs.values())), None) if self.tap.is_input else output
        if self.tap.item is not None:
            value = _item(value, self.tap.item)
        if isinstance(value, Tensor):
            self.version = version(value)
            if self.tap.is_last and value.dim() == 4:
                value = value.permute(0, 3, 1, 2)
            self.current.features[self.name] = value.clone() if self.copies else value


def _register(network: nn.Module, hook: _Hook) -> RemovableHandle:
    module = unwrap(network).get_submodule(hook.tap.path)
    if hook.tap.is_input:
        return module.register_forward_pre_hook(hook, with_kwargs=True)
    return module.register_forward_hook(hook, with_kwargs=True)


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


def _item(value: object, item: str) -> object:
    if isinstance(value, dict):
        return value.get(item)
    if isinstance(value, list | tuple) and item.lstrip("-").isdigit() and -len(value) <= int(item) < len(value):
        return value[int(item)]
    return None


def _check_layout(name: str, feature: Tensor, tap: Tap | None, images: Tensor) -> None:
    """Refuse a map whose channels are not where they are looked for; vectors and tokens have no such order."""
    if tap is not None and tap.is_last:
        own = feature.permute(0, 2, 3, 1) if feature.dim() == 4 else feature
        if feature.dim() != 4 or (_fits(own.shape[2:], images) and not _fits(own.shape[1:3], images)):
            raise UserError(
                f"feature '{name}' is {tuple(own.shape)}, not a map with channels last; leave out '{_LAST}'"
            )
    elif _has_channels_last(feature.shape, images):
        remedy = f"name it '{name}{_LAST}'" if tap is not None else "return it permuted, (N, channels, h, w)"
        raise UserError(f"feature '{name}' is {tuple(feature.shape)}, with channels last; {remedy}")


def _has_channels_last(shape: torch.Size, images: Tensor) -> bool:
    """Whether a map can only be (N, h, w, C), by the images' height and width."""
    is_map = len(shape) == 4 and shape[3] > 1
    return is_map and _fits(shape[1:3], images) and not _fits(shape[2:], images)


def _fits(size: Sequence[int], images: Tensor) -> bool:
    """Whether height and width can be those of a map of the images, at whatever stride, both rounded up or down."""
    (height, width), (rows, columns) = images.shape[2:], size
    return bool(abs(rows * width - columns * height) < max(height, width))


def roles(network: nn.Module) -> dict[str, str]:
    """Return the roles that a network publishes: role to tap."""
    return dict(getattr(unwrap(network), "roles", {}))


def resolve(network: nn.Module, name: str, probe: Tensor) -> Tap:
    """Find the place that ``name`` means in ``network``.

    A path may leave out leading modules where the rest is unique. ``head``, where the network does not publish
    it, is the input of the layer that makes the logits.

    Raises:
        UserError: Unknown name; the nearest role or module path is offered.
    """
    bare = name.removesuffix(_LAST)
    text = roles(network).get(bare)
    if text is None and bare == "head":
        text = f"{classifier_path(network, probe)}:input"
    text = text or bare
    match = _TAP.match(text.removesuffix(_LAST))
    paths = [path for path, _ in unwrap(network).named_modules() if path]
    if match:
        path = match["path"]
        found = [path] if path in paths else [p for p in paths if p.endswith(f".{path}")]
        if len(found) == 1:
            is_last = bare != name or text.endswith(_LAST)
            return Tap(found[0], is_input=match["input"] is not None, item=match["item"], is_last=is_last)
    known = [*OUTPUTS, "head", *roles(network), *paths]
    hint = "(segdistill taps MODEL lists them all)"
    raise unknown(f"feature of {type(unwrap(network)).__name__}", bare, known, hint=hint)


def classifier_path(network: nn.Module, probe: Tensor) -> str:
    """Return the path of the last convolution or linear layer with as many outputs as there are classes.

    Raises:
        UserError: There is none, so the network must name its head itself.
    """
    called: list[tuple[str, int]] = []

    def note(path: str, channels: int) -> None:
        called.append((path, channels))

    handles = []
    for path, module in unwrap(network).named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            channels = module.out_channels if isinstance(module, nn.Conv2d) else module.out_features
            handles.append(module.register_forward_hook(lambda *_, p=path, c=channels: note(p, c)))
    try:
        with evaluating(network), torch.no_grad():
            output = run(network, probe.clone())
    finally:
        _remove(handles)
    aux = roles(network).get("aux", "aux")
    for path, channels in reversed(called):
        if channels == output.logits.shape[1] and not path.startswith(aux):
            return path
    raise UserError(
        f"cannot tell which layer of {type(unwrap(network)).__name__} is the classifier; "
        "name a feature by its module path instead of 'head', or give models.wrap(roles={'head': ...})"
    )


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside ``torch.compile`` and data-parallel wrappers, whose module paths are its own."""
    compiled = getattr(network, "_orig_mod", None)
    if isinstance(compiled, nn.Module):
        return unwrap(compiled)
    if isinstance(network, DataParallel | DistributedDataParallel):
        return unwrap(network.module)
    return network


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in eval mode and give every module its own mode back afterwards."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def probe_for(network: nn.Module, size: int = 128) -> Tensor:
    """Return a black image (1, 3, size, size) where the network's parameters are, in their dtype."""
    parameter = next(network.parameters(), torch.empty(0))
    return torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)


def describe(network: nn.Module, probe: Tensor) -> list[tuple[str, str, tuple[int, ...]]]:
    """List what can be tapped: (name, kind, shape) of the outputs, the roles and every module that gives a map."""
    rows: list[tuple[str, str, tuple[int, ...]]] = []
    handles = []
    for path, module in unwrap(network).named_modules():

        def note(module: nn.Module, args: object, output: object, path: str = path) -> None:
            if path and isinstance(output, Tensor) and output.dim() in (2, 4):
                is_last = _has_channels_last(output.shape, probe)
                shape = output.permute(0, 3, 1, 2).shape if is_last else output.shape
                rows.append((path + _LAST * is_last, type(module).__name__, tuple(shape)))

        handles.append(module.register_forward_hook(note))
    try:
        with evaluating(network), torch.no_grad():
            output: SegOutput = run(network, probe.clone())
    finally:
        _remove(handles)
    names = ["logits", *(["aux"] if output.aux is not None else [])]
    names += [role for role in roles(network) if role not in OUTPUTS]
    if "head" not in names:
        names.append("head")
    shapes = [_shape(network, name, probe) for name in names]
    return [(name, "role", tuple(shape)) for name, shape in shapes] + rows


def _shape(network: nn.Module, name: str, probe: Tensor) -> tuple[str, torch.Size]:
    """Return a feature's shape, and the name it can be tapped by: another where its channels come last."""
    try:
        return name, FeatureReader(network, [name], probe).shapes[name]
    except UserError:
        if name in OUTPUTS:
            raise
        name += _LAST
        return name, FeatureReader(network, [name], probe).shapes[name]
