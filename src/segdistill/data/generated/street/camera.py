"""The camera of street scenes: projects meters to pixels, draws image and labels, and adds blur, texture and noise.

It is a pinhole camera that looks along a straight street. The axes are x right, y up and z forward, in meters; y = 0 is
the ground.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from segdistill.data.classes import VOID, Color
from segdistill.data.decoding.images import Array
from segdistill.data.layouts.generated import SCENES

Span = tuple[float, float]

SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, POLE, SIGN, PERSON, BICYCLIST = range(len(SCENES))

# The colors of walls, cars and clothes.
PAINTS: tuple[Color, ...] = (
    (170, 66, 56),
    (66, 92, 146),
    (198, 192, 182),
    (92, 94, 98),
    (54, 54, 60),
    (184, 160, 116),
    (84, 112, 76),
    (222, 216, 206),
    (136, 86, 64),
    (126, 134, 142),
)
LEAVES: tuple[Color, ...] = ((62, 92, 44), (84, 112, 50), (48, 74, 48), (124, 104, 46), (142, 84, 46))
SKIES: tuple[Color, ...] = (
    (128, 168, 214),
    (214, 218, 222),
    (168, 186, 206),
    (226, 196, 168),
    (150, 156, 166),
)

# Strength of the texture on each class, as a fraction of brightness.
_TEXTURE = np.full(VOID + 1, 0.05, dtype=np.float32)
_TEXTURE[[BUILDING, ROAD, PAVEMENT, TREE]] = 0.09, 0.07, 0.08, 0.28
_DARKER = [int(0.7 * value) for value in range(256)] * 3


class Camera:
    """An image and its labels, drawn from far to near: later things hide earlier ones."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.height, self.width = height, width
        self.center = width * rng.uniform(0.25, 0.75)  # of the vanishing point
        self.horizon = height * rng.uniform(0.36, 0.54)
        self.focal = width * rng.uniform(0.75, 1.05)  # pixels
        self.above = rng.uniform(1.2, 2.0)  # meters above the ground
        self.sight = rng.uniform(60, 400)  # meters over which colors fade into the haze
        self.haze = self.pick(SKIES)
        self.image = Image.new("RGB", (width, height), self.haze)
        self.labels = Image.new("L", (width, height), SKY)
        self.paint = ImageDraw.Draw(self.image)
        self.mark = ImageDraw.Draw(self.labels)

    def pick(self, paints: Sequence[Color]) -> Color:
        """Return a random one of the paints, slightly changed."""
        base = paints[int(self.rng.integers(len(paints)))]
        red, green, blue = (self.rng.normal(0, 14, 3) + base).clip(0, 255).astype(int).tolist()
        return red, green, blue

    def mixed(self, color: Color, part: float) -> Color:
        """Return a color mixed with the given part of haze."""
        red, green, blue = (int(c + (h - c) * part) for c, h in zip(color, self.haze, strict=True))
        return red, green, blue

    def faded(self, color: Color, z: float) -> Color:
        """Return a color as it looks from a distance."""
        return self.mixed(color, 1 - float(np.exp(-z / self.sight)))

    def at(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Project a point to pixels."""
        return self.center + self.focal * x / z, self.horizon + self.focal * (self.above - y) / z

    # Each of these methods fills a shape with a color. Without a label, the shape is a detail of the thing under it.

    def face(self, corners: Sequence[tuple[float, float, float]], color: Color, label: int | None = None) -> None:
        """Fill a polygon."""
        points = [self.at(*corner) for corner in corners]
        self.paint.polygon(points, fill=self.faded(color, corners[0][2]))
        if label is not None:
            self.mark.polygon(points, fill=label)

    def flat(self, corners: Sequence[Span], z: float, color: Color, label: int | None = None) -> None:
        """Fill a polygon of (x, y) that faces the camera."""
        self.face([(x, y, z) for x, y in corners], color, label)

    def flank(self, x: float, y: Span, z: Span, color: Color, label: int | None = None) -> None:
        """Fill an upright rectangle along the street."""
        self.face([(x, y[0], z[0]), (x, y[0], z[1]), (x, y[1], z[1]), (x, y[1], z[0])], color, label)

    def floor(self, x: Span, z: Span, color: Color, label: int | None = None) -> None:
        """Fill a rectangle on the ground."""
        self.face([(x[0], 0, z[0]), (x[1], 0, z[0]), (x[1], 0, z[1]), (x[0], 0, z[1])], color, label)

    def board(self, x: Span, y: Span, z: float, color: Color, label: int | None = None) -> None:
        """Fill an upright rectangle that faces the camera; at least one pixel wide."""
        left, top = self.at(x[0], y[1], z)
        right, bottom = self.at(x[1], y[0], z)
        box = [left, top, max(left, right - 1), max(top, bottom - 1)]  # Pillow paints the last pixel too
        self.paint.rectangle(box, fill=self.faded(color, z))
        if label is not None:
            self.mark.rectangle(box, fill=label)

    def disc(self, x: float, y: float, z: float, radius: float, color: Color, label: int | None = None) -> None:
        """Fill a circle that faces the camera."""
        box = [*self.at(x - radius, y + radius, z), *self.at(x + radius, y - radius, z)]
        self.paint.ellipse(box, fill=self.faded(color, z))
        if label is not None:
            self.mark.ellipse(box, fill=label)

    def ring(self, x: float, y: float, z: float, radius: float, color: Color, label: int) -> None:
        """Draw a circle's rim, 7 cm thick."""
        box = [*self.at(x - radius, y + radius, z), *self.at(x + radius, y - radius, z)]
        thick = max(1, round(self.focal * 0.07 / z))
        self.paint.ellipse(box, outline=self.faded(color, z), width=thick)
        self.mark.ellipse(box, outline=label, width=thick)

    def shadow(self, x: float, z: float, radius: float) -> None:
        """Darken the image under a thing, without changing the labels."""
        left, top = self.at(x - radius, 0, z + radius / 2)
        right, bottom = self.at(x + radius, 0, max(1.0, z - radius / 2))
        box = (
            max(round(left), 0),
            max(round(top), 0),
            min(round(right), self.width),
            min(round(bottom), self.height),
        )
        if box[2] > box[0] and box[3] > box[1]:
            self.image.paste(self.image.crop(box).point(_DARKER), box)

    def photograph(self) -> tuple[Array, Array]:
        """Return the image (H, W, 3), with blur, texture, light and sensor noise added, and the labels (H, W)."""
        rng, shape = self.rng, (self.height, self.width)
        image = self.image
        if rng.random() < 0.3:
            image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 0.6)))
        labels = np.array(self.labels)
        grain = rng.standard_normal(shape, dtype=np.float32) + self._patches(6) + self._patches(24)
        light = 1 + _TEXTURE[labels] * rng.uniform(0.4, 0.8) * grain
        light *= rng.uniform(0.6, 1.15) * (1 + 0.12 * self._patches(60))  # time of day, uneven light
        tint = rng.uniform(0.9, 1.1, 3).astype(np.float32)
        pixels = np.asarray(image, dtype=np.float32) * light[..., None] * tint
        pixels += rng.uniform(2, 6) * rng.standard_normal((*shape, 3), dtype=np.float32)
        return pixels.clip(0, 255).astype(np.uint8), labels

    def _patches(self, size: int) -> NDArray[np.float32]:
        """Return smooth noise of shape (H, W), with unit deviation at nodes that are about ``size`` pixels apart."""
        nodes = self.rng.standard_normal((self.height // size + 2, self.width // size + 2), dtype=np.float32)
        smooth = Image.fromarray(nodes).resize((self.width, self.height), Image.Resampling.BICUBIC)
        return np.asarray(smooth, dtype=np.float32)


def shaded(color: Color, factor: float) -> Color:
    """Return a color whose brightness is multiplied by a factor."""
    red, green, blue = (min(255, int(value * factor)) for value in color)
    return red, green, blue
