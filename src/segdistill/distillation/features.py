"""Features by name: any layer of any network, read during the forward pass without editing the network.

A name is a role that the network publishes (``stage1`` .. ``stage4``, ``head``), ``logits`` or ``aux``, or a tap:

    backbone.layer4      the output of that module
    classifier.4:input   the first input of that module
    encoder[2]           an item of an output that is a list or a dict; also encoder[0][2]
    layers.3:nhwc        any of these if the channels come last, as in a Swin transformer
    stage4:pre           a role or an output before its last activation, such as a ReLU
"""

import re
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.hooks import RemovableHandle

from segdistill.distillation.running import Runner, run, version
from segdistill.errors import UserError, unknown
from segdistill.outputs import SegOutput, unwrap

OUTPUTS = ("logits", "aux")
_TAP = re.compile(r"^(?P<path>[^:\[\]]+)(?:(?P<input>:input)|(?P<item>(?:\[[^\]]+\])+))?$")
_LAST = ":nhwc"
_PRE = ":pre"


@dataclass(frozen=True)
class Tap:
    """One tensor in a network: the output of the module at ``path``, its first input, or an item of either.

    The channels are the second dimension, or the last one if ``is_last``.
    """

    path: str
    is_input: bool = False
    item: str | None = None
    is_last: bool = False


class FeatureReader:
    """Run a network and return the named features of that pass.

    The names are resolved once, with one forward pass of ``probe``. That pass also finds the features that a later
    in-place operation overwrites, for instance an in-place ReLU after a batch norm; they are copied from then on. The
    first pass in training mode finds those that an operation of this mode overwrites, such as an in-place dropout, and
    is repeated with copies, from the same buffers and random numbers. If a module is called several times in a pass,
    its last call counts.

    Args:
        network: Any module whose output :func:`segdistill.outputs.read_output` understands.
        names: Roles, ``logits``, ``aux`` or taps.
        probe: An image batch, shape (N, 3, H, W).

    Attributes:
        shapes: The shape of every feature in the pass of ``probe``, ``logits`` included, and ``aux`` if the network has
            an auxiliary head.

    Raises:
        UserError: A name that the network does not have; the message suggests the nearest one.
    """

    def __init__(self, network: nn.Module, names: Iterable[str], probe: Tensor) -> None:
        self.network = network
        self.names = tuple(dict.fromkeys(names))
        self._pass = _Pass()
        self._run = Runner()
        self._is_unknown = True  # whether operations of training mode overwrite features
        taps = _resolved(network, [name for name in self.names if name not in OUTPUTS], probe)
        self._hooks = {name: _Hook(self._pass, name, tap) for name, tap in taps.items()}
        handles = [_register(network, hook) for hook in self._hooks.values()]
        # Remove the hooks with the reader, so that a student that outlives its Distiller keeps none.
        weakref.finalize(self, _remove, handles)
        self.shapes: dict[str, torch.Size] = {}
        self.shapes = self._probe(probe)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return the features of one forward pass by name, ``logits`` included unless :meth:`stop_early` was called.

        Raises:
            UserError: A feature is missing, because the network was compiled without the hooks.
        """
        if not self._is_unknown or not self.network.training or _cannot_count_changes():
            return self._read(images)
        self._is_unknown = False
        before = _State(self.network)
        features = self._read(images)
        if self._copy_overwritten(features):
            del features  # with its graph
            before.restore()
            features = self._read(images)
        return features

    def _read(self, images: Tensor) -> dict[str, Tensor]:
        self._pass.features, self._pass.calls = {}, 0
        features = self._pass.features
        try:
            output = self._run(self.network, images)
        except _Complete:
            return features
        finally:
            self._pass.features = None
        if self.shapes and not torch.compiler.is_compiling():
            self._check_complete(features)
        features["logits"] = output.logits
        if output.aux is not None:
            if self.shapes and "aux" not in self.shapes:
                raise UserError(
                    f"{type(unwrap(self.network)).__name__} has an auxiliary head in training mode only, and the "
                    "Distiller looks in eval mode; return 'aux' in both modes, or in neither"
                )
            features["aux"] = output.aux
        return features

    def stop_early(self) -> None:
        """End each pass after the last feature, if no output is among the features: the rest is not needed.

        The hooks are called as often as in the pass at construction. A compiled network runs to its end.
        """
        if not set(self.names) & set(OUTPUTS):
            self._pass.last = self._calls

    def _check_complete(self, features: dict[str, Tensor]) -> None:
        if missing := [name for name in self._hooks if name not in features]:
            raise UserError(
                f"{type(unwrap(self.network)).__name__} did not run the module of feature '{missing[0]}' in this pass; "
                "if it was compiled and used before the Distiller, call torch.compiler.reset() after building it"
            )

    def _copy_overwritten(self, features: dict[str, Tensor]) -> bool:
        """Copy the features that the network has overwritten, from the next pass on. Return whether there are any."""
        overwritten = [
            hook for name, hook in self._hooks.items() if not hook.copies and version(features[name]) != hook.version
        ]
        for hook in overwritten:
            hook.copies = True
        return bool(overwritten)

    def _probe(self, probe: Tensor) -> dict[str, torch.Size]:
        with evaluating(self.network), torch.no_grad():
            features = self(probe)
        self._calls = self._pass.calls
        for name in self.names:
            if name == "aux" and "aux" not in features:
                raise UserError(f"{type(self.network).__name__} has no auxiliary head, so no feature 'aux'")
            if not isinstance(features.get(name), Tensor):
                raise UserError(
                    f"feature '{name}' of {type(self.network).__name__} is not a tensor; "
                    "name an item of it, as in 'encoder[2]', or a module inside it"
                )
        _check_scores(features["logits"], type(unwrap(self.network)).__name__)
        for name, feature in features.items():
            _check_layout(name, feature, self._hooks[name].tap if name in self._hooks else None, probe)
        self._copy_overwritten(features)
        # An in-place dropout overwrites its input in training only, and a compiled network is not looked at then.
        if any(isinstance(module, _DropoutNd) and module.inplace for module in self.network.modules()):
            for hook in self._hooks.values():
                hook.copies = True
        return {name: feature.shape for name, feature in features.items()}


def _cannot_count_changes() -> bool:
    return torch.compiler.is_compiling() or torch.is_inference_mode_enabled()


class _State:
    """What a pass in training mode changes: buffers, and the generators of random numbers."""

    def __init__(self, network: nn.Module) -> None:
        self._buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
        self._device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
        self._cpu = torch.get_rng_state()
        self._gpu = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None

    def restore(self) -> None:
        with torch.no_grad():
            for buffer, value in self._buffers:
                buffer.copy_(value)
        torch.set_rng_state(self._cpu)
        if self._gpu is not None:
            torch.cuda.set_rng_state(self._gpu, self._device)


@dataclass
class _Pass:
    """A reader's current forward pass.

    Attributes:
        features: The features that the hooks have stored so far; None outside of a pass.
        calls: The number of calls of hooks so far.
        last: The number of calls after which the pass ends; None for no end.
    """

    features: dict[str, Tensor] | None = None
    calls: int = 0
    last: int | None = None


class _Complete(BaseException):
    """Ends a pass of which no more is needed. No error, so no network catches it."""


class _Hook:
    """A forward hook that stores one feature. It is a class, so that a hooked network can still be pickled."""

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
        self.current.calls += 1
        if self.current.calls == self.current.last and not torch.compiler.is_compiling():
            raise _Complete


def _register(network: nn.Module, hook: _Hook) -> RemovableHandle:
    module = unwrap(network).get_submodule(hook.tap.path)
    if hook.tap.is_input:
        return module.register_forward_pre_hook(hook, with_kwargs=True)
    return module.register_forward_hook(hook, with_kwargs=True)


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


def _probed(network: nn.Module, probe: Tensor, handles: list[RemovableHandle]) -> SegOutput:
    """Run a network on a copy of ``probe``, in eval mode and without gradients, and then remove the hooks."""
    try:
        with evaluating(network), torch.no_grad():
            return run(network, probe.clone())
    finally:
        _remove(handles)


def _item(value: object, item: str) -> object:
    """Return an item of a list, tuple or dict, or of its items: ``"0][2"`` is item 2 of item 0."""
    first, _, rest = item.partition("][")
    if rest:
        return _item(_item(value, first), rest)
    if isinstance(value, dict):
        return value.get(item)
    if isinstance(value, list | tuple) and item.lstrip("-").isdigit() and -len(value) <= int(item) < len(value):
        return value[int(item)]
    return None


def _check_scores(logits: Tensor, network: str) -> None:
    """Raise if the scores are probabilities: cross-entropy and every loss on logits would apply softmax again."""
    if logits.shape[1] == 1 or logits.is_meta:
        return
    scores = logits.float()
    if bool((scores >= 0).all() & ((scores.sum(1) - 1).abs() < 1e-3).all()):
        raise UserError(f"{network} returns probabilities; return the scores before the softmax")


def _check_layout(name: str, feature: Tensor, tap: Tap | None, images: Tensor) -> None:
    """Raise if a map's channels are not where the tap expects them. Vectors and tokens are not checked."""
    if tap is not None and tap.is_last:
        original = feature.permute(0, 2, 3, 1) if feature.dim() == 4 else feature
        if feature.dim() != 4 or (_fits(original.shape[2:], images) and not _fits(original.shape[1:3], images)):
            raise UserError(
                f"feature '{name}' is {tuple(original.shape)}, not a map with channels last; leave out '{_LAST}'"
            )
    elif _has_channels_last(feature.shape, images):
        remedy = f"name it '{name}{_LAST}'" if tap is not None else "return it permuted, (N, channels, h, w)"
        raise UserError(f"feature '{name}' is {tuple(feature.shape)}, with channels last; {remedy}")


def _has_channels_last(shape: torch.Size, images: Tensor) -> bool:
    """Return True if a map can only be (N, h, w, C), given the images' height and width."""
    is_map = len(shape) == 4 and shape[3] > 1
    return is_map and _fits(shape[1:3], images) and not _fits(shape[2:], images)


def _fits(size: Sequence[int], images: Tensor) -> bool:
    """Return True if a map of the images can have this height and width at some stride, each rounded up or down."""
    (height, width), (rows, columns) = images.shape[2:], size
    return bool(abs(rows * width - columns * height) < max(height, width))


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
        return _resolved(network, [name], probe)[name]
    bare = name.removesuffix(_LAST)
    text = roles(network).get(bare)
    if text is None and bare == "head":
        text = f"{classifier_path(network, probe)}:input"
    text = text or bare
    match = _TAP.match(text.removesuffix(_LAST))
    paths = [path for path, _ in unwrap(network).named_modules() if path]
    if match:
        path = match["path"]
        matches = [path] if path in paths else [p for p in paths if p.endswith(f".{path}")]
        if len(matches) == 1:
            is_last = bare != name or text.endswith(_LAST)
            item = match["item"][1:-1] if match["item"] else None
            return Tap(matches[0], is_input=match["input"] is not None, item=item, is_last=is_last)
    known = [*OUTPUTS, "head", *roles(network), *paths]
    hint = "(segdistill taps MODEL lists them all)"
    raise unknown(f"feature of {type(unwrap(network)).__name__}", bare, known, hint=hint)


def _resolved(network: nn.Module, names: Iterable[str], probe: Tensor) -> dict[str, Tap]:
    """Return the tap of each name. One forward pass finds the activations of all names that end in ``:pre``."""
    taps = {name: resolve(network, name.removesuffix(_PRE), probe) for name in names}
    before = {name: tap for name, tap in taps.items() if name.endswith(_PRE)}
    return {**taps, **_before_activations(network, before, probe)} if before else taps


def _before_activations(network: nn.Module, taps: dict[str, Tap], probe: Tensor) -> dict[str, Tap]:
    """Return the taps of the inputs of the activations whose outputs ``taps`` read; a tap of no activation stays."""
    current = _Pass(features={})
    outputs: list[tuple[str, Tensor]] = []

    def note(path: str, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.append((path, output))

    handles = [_register(network, _Hook(current, name, replace(tap, is_last=False))) for name, tap in taps.items()]
    for path, module in unwrap(network).named_modules():
        if _is_activation(module):
            handles.append(module.register_forward_hook(lambda *values, p=path: note(p, values[-1])))
    _probed(network, probe, handles)
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
    output = _probed(network, probe, handles)
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


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in eval mode and restore the mode of every module afterwards."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def probe_for(network: nn.Module, size: int = 128) -> Tensor:
    """Return a black image of shape (1, 3, size, size), on the device and in the dtype of the network's parameters."""
    parameter = next(network.parameters(), torch.empty(0))
    return torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)


def describe(network: nn.Module, probe: Tensor) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return (name, kind, shape) of all features: outputs, roles, and every module that returns a map or vectors."""
    rows: list[tuple[str, str, tuple[int, ...]]] = []
    handles = []
    for path, module in unwrap(network).named_modules():

        def note(module: nn.Module, args: object, output: object, path: str = path) -> None:
            if path and isinstance(output, Tensor) and output.dim() in (2, 4):
                is_last = _has_channels_last(output.shape, probe)
                shape = output.permute(0, 3, 1, 2).shape if is_last else output.shape
                rows.append((path + _LAST * is_last, type(module).__name__, tuple(shape)))

        handles.append(module.register_forward_hook(note))
    output = _probed(network, probe, handles)
    names = ["logits", *(["aux"] if output.aux is not None else [])]
    names += [role for role in roles(network) if role not in OUTPUTS]
    if "head" not in names:
        names.append("head")
    shapes = [_shape(network, name, probe) for name in names]
    return [(name, "role", tuple(shape)) for name, shape in shapes] + rows


def _shape(network: nn.Module, name: str, probe: Tensor) -> tuple[str, torch.Size]:
    """Return a feature's name and shape; the name ends in ``:nhwc`` if the channels come last."""
    try:
        return name, FeatureReader(network, [name], probe).shapes[name]
    except UserError:
        if name in OUTPUTS:
            raise
        name += _LAST
        return name, FeatureReader(network, [name], probe).shapes[name]
