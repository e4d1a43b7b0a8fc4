"""Features by name: any layer of any network, read during the forward pass without editing the network."""

import weakref
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from segdistill.distillation.hooks import Complete, Hook, Pass, Tap, register, remove
from segdistill.distillation.modes import State, evaluating
from segdistill.distillation.running import Runner, version
from segdistill.distillation.taps import LAST, OUTPUTS, probed, resolved, roles
from segdistill.errors import UserError
from segdistill.outputs import unwrap


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
        self._pass = Pass()
        self._run = Runner()
        taps = resolved(network, [name for name in self.names if name not in OUTPUTS], probe)
        self._hooks = {name: Hook(self._pass, name, tap) for name, tap in taps.items()}
        self._is_unknown = bool(self._hooks)  # whether operations of training mode overwrite features
        handles = [register(network, hook) for hook in self._hooks.values()]
        # Remove the hooks with the reader, so that a student that outlives its Distiller keeps none.
        weakref.finalize(self, remove, handles)
        self.shapes: dict[str, torch.Size] = {}
        self.shapes = self._probe(probe)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return the features of one forward pass by name, ``logits`` included unless :meth:`stop_early` was called.

        Raises:
            UserError: A feature is missing, because the network was compiled without the hooks.
        """
        if (
            not self._is_unknown
            or not self.network.training
            or torch.compiler.is_compiling()
            or torch.is_inference_mode_enabled()
        ):
            return self._read(images)
        self._is_unknown = False
        before = State(self.network)
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
        except Complete:
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
                f"feature '{name}' is {tuple(original.shape)}, not a map with channels last; leave out '{LAST}'"
            )
    elif _has_channels_last(feature.shape, images):
        remedy = f"name it '{name}{LAST}'" if tap is not None else "return it permuted, (N, channels, h, w)"
        raise UserError(f"feature '{name}' is {tuple(feature.shape)}, with channels last; {remedy}")


def _has_channels_last(shape: torch.Size, images: Tensor) -> bool:
    """Return True if a map can only be (N, h, w, C), given the images' height and width."""
    is_map = len(shape) == 4 and shape[3] > 1
    return is_map and _fits(shape[1:3], images) and not _fits(shape[2:], images)


def _fits(size: Sequence[int], images: Tensor) -> bool:
    """Return True if a map of the images can have this height and width at some stride, each rounded up or down."""
    (height, width), (rows, columns) = images.shape[2:], size
    return bool(abs(rows * width - columns * height) < max(height, width))


def describe(network: nn.Module, probe: Tensor) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return (name, kind, shape) of all features: outputs, roles, and every module that returns a map or vectors."""
    rows: list[tuple[str, str, tuple[int, ...]]] = []
    handles = []
    for path, module in unwrap(network).named_modules():

        def note(module: nn.Module, args: object, output: object, path: str = path) -> None:
            if path and isinstance(output, Tensor) and output.dim() in (2, 4):
                is_last = _has_channels_last(output.shape, probe)
                shape = output.permute(0, 3, 1, 2).shape if is_last else output.shape
                rows.append((path + LAST * is_last, type(module).__name__, tuple(shape)))

        handles.append(module.register_forward_hook(note))
    output = probed(network, probe, handles)
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
        name += LAST
        return name, FeatureReader(network, [name], probe).shapes[name]
