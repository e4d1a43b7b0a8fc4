"""Pictures of a report: the image once as WebP, and a picture of the classes for each network, as data in the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from segdistill.data import Classes
from segdistill.reports.drawing import Labels, Pixels, colored

# Pixels between the pictures of two networks: blue where only the second is right, orange where only the first is.
GAINED, LOST = (0, 114, 178), (230, 159, 0)

# The largest size of a picture in pixels. WebP ends at 16383, and a tall picture is hard to compare long before.
WIDTH, HEIGHT = 480, 960


@dataclass(frozen=True)
class Scene:
    """An image with its labels and the predictions of several networks.

    Attributes:
        name: The name of the image.
        image: The pixels, of shape (H, W, 3).
        truth: The labels, of shape (H, W).
        predicted: The predicted class of each pixel, by network.
        scores: The mean IoU of each network on this image, in 0..1, over the classes in its labels; or None.
        reference: The network that the others are compared with; None compares none.
    """

    name: str
    image: Pixels
    truth: Labels
    predicted: Mapping[str, Labels]
    scores: Mapping[str, float | None]
    reference: str | None = None


@dataclass(frozen=True)
class Layer:
    """One picture over an image.

    Attributes:
        title: The name of the picture.
        source: The picture as a ``data:`` address.
    """

    title: str
    source: str


@dataclass(frozen=True)
class ShownScene:
    """A scene as it is in the page.

    Attributes:
        name: The name of the image.
        width, height: The size of its pictures.
        photo: The image as a ``data:`` address.
        layers: The labels, the predictions and the differences.
        scores: See :class:`Scene`.
        left, right: The layers that are compared at first.
        size: The number of characters of its pictures.
        compares: Whether layers show the differences of two networks.
    """

    name: str
    width: int
    height: int
    photo: str
    layers: tuple[Layer, ...]
    scores: Mapping[str, float | None]
    left: str
    right: str
    size: int = 0
    compares: bool = False


def shown(scenes: Sequence[Scene], classes: Classes, room: int) -> tuple[ShownScene, ...]:
    """Return the first scenes whose pictures together take at most ``room`` characters of the page."""
    found: list[ShownScene] = []
    for scene in scenes:
        encoded = encode(scene, classes)
        if encoded.size > room:
            break
        room -= encoded.size
        found.append(encoded)
    return tuple(found)


def encode(scene: Scene, classes: Classes) -> ShownScene:
    """Return a scene with its pictures encoded, at most ``WIDTH`` wide and ``HEIGHT`` high."""
    high, wide = scene.truth.shape
    scale = min(1.0, WIDTH / wide, HEIGHT / high)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    photo = _address(Image.fromarray(scene.image).resize(size, Image.Resampling.BOX), quality=80)
    layers = [Layer("ground truth", _address(_mask(scene.truth, classes, size)))]
    layers += [Layer(name, _address(_mask(labels, classes, size))) for name, labels in scene.predicted.items()]
    first = scene.reference
    for name, labels in scene.predicted.items():
        if first is not None and name != first:
            difference = difference_of(scene.truth, scene.predicted[first], labels, classes.ignore_index)
            picture = Image.fromarray(difference).resize(size, Image.Resampling.NEAREST)
            layers.append(Layer(f"difference: {name}", _address(picture)))
    networks = list(scene.predicted)
    left = first or "ground truth"
    right = next((name for name in networks if name != left), left)
    characters = len(photo) + sum(len(layer.source) for layer in layers)
    compares = first is not None and len(networks) > 1
    return ShownScene(scene.name, *size, photo, tuple(layers), scene.scores, left, right, characters, compares)


def difference_of(truth: Labels, first: Labels, second: Labels, void: int) -> Pixels:
    """Return colors of shape (H, W, 4) where only one of two predictions is right; other pixels are transparent."""
    picture = np.zeros((*truth.shape, 4), np.uint8)
    labeled = truth != void
    picture[labeled & (second == truth) & (first != truth)] = (*GAINED, 255)
    picture[labeled & (first == truth) & (second != truth)] = (*LOST, 255)
    return picture


def _mask(labels: Labels, classes: Classes, size: tuple[int, int]) -> Image.Image:
    """Return labels as colors; void is transparent."""
    alpha = np.where(labels == classes.ignore_index, 0, 255).astype(np.uint8)
    picture = Image.fromarray(np.dstack([colored(labels, classes), alpha]))
    return picture.resize(size, Image.Resampling.NEAREST)


def _address(picture: Image.Image, quality: int | None = None) -> str:
    """Return a picture as WebP in a ``data:`` address, without loss unless a quality is given."""
    file = io.BytesIO()
    if quality is None:
        picture.save(file, format="WEBP", lossless=True, method=4)
    else:
        picture.save(file, format="WEBP", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
