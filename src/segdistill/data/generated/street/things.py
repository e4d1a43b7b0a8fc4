"""Things in a street. Each function draws one thing, ``x`` meters to the right and ``z`` meters ahead."""

import numpy as np

from segdistill.data.classes import Color
from segdistill.data.generated.street.camera import (
    BICYCLIST,
    BUILDING,
    CAR,
    LEAVES,
    PAINTS,
    PERSON,
    POLE,
    SIGN,
    TREE,
    Camera,
    shaded,
)

SKINS: tuple[Color, ...] = ((224, 182, 150), (176, 124, 92), (98, 66, 50))
SIGNALS: tuple[Color, ...] = ((190, 40, 40), (40, 80, 170), (232, 196, 40), (230, 230, 226), (40, 120, 70))
BLACK: Color = (32, 32, 34)
WHITE: Color = (226, 226, 222)


def building(camera: Camera, x: float, z: float, side: int, length: float) -> None:
    """Draw a front with windows along the street, and the end wall that faces the camera."""
    rng, end = camera.rng, z + length
    floors = int(rng.integers(1, 5))
    height = 3.0 * floors + rng.uniform(0.5, 2.5)
    color = camera.pick(PAINTS)
    back = x + side * 9
    corners = [(x, 0), (back, 0), (back, height), (x, height)]
    camera.flat(corners, z, shaded(color, rng.uniform(0.6, 1.0)), BUILDING)
    camera.flank(x, (0, height), (z, end), color, BUILDING)
    if z > 45:
        return
    for y in np.arange(0.8, height, 0.8).tolist() if z < 16 else ():  # courses of brick
        line = [camera.at(x, y, z), camera.at(x, y, end)]
        camera.paint.line(line, fill=camera.faded(shaded(color, 0.9), z))
    glass = camera.pick(((58, 66, 78), camera.haze, (40, 44, 50), (226, 200, 130)))
    frame = camera.pick(((214, 210, 204), (70, 62, 56)))
    pitch, tall, shop = rng.uniform(1.8, 3.2), rng.uniform(1.2, 1.9), rng.random() < 0.4
    if shop:  # its sign is part of the building
        camera.flank(x, (2.5, 3.1), (z + 0.4, end - 0.4), camera.pick(SIGNALS))
        camera.flank(x, (0.4, 2.3), (z + 0.6, end - 0.6), glass)
    for floor_number in range(int(shop), floors):
        for start in np.arange(z + 0.6, end - 1.2, pitch).tolist():
            door = floor_number == 0 and rng.random() < 0.25
            low, high = 0.0 if door else 3.0 * floor_number + 0.9, 3.0 * floor_number + 0.9 + tall
            if z < 20:
                camera.flank(x, (max(0, low - 0.1), high + 0.1), (start - 0.1, start + 1.2), frame)
            camera.flank(x, (low, high), (start, start + 1.1), camera.pick(PAINTS) if door else glass)
    if rng.random() < 0.5:  # a drainpipe is thin and upright like a pole, but part of the wall
        pipe = camera.pick(((70, 70, 72), (150, 150, 150)))
        camera.flank(x, (0, height), (end - 0.35, end - 0.1), pipe)
    camera.flank(x, (height - 0.3, height), (z, end), camera.pick(((96, 60, 50), (70, 72, 78))))


def tree(camera: Camera, x: float, z: float) -> None:
    """Draw a trunk and a crown of many discs."""
    rng = camera.rng
    trunk, radius = rng.uniform(1.4, 2.8), rng.uniform(1.0, 2.2)
    camera.shadow(x, z, radius)
    bark = camera.pick(((86, 70, 56), (110, 100, 90)))
    camera.board((x - 0.14, x + 0.14), (0, trunk + radius), z, bark, TREE)
    leaves = camera.pick(LEAVES)
    offsets, sizes = rng.normal(0, 0.45 * radius, (16, 2)), rng.uniform(0.25, 0.6, 16) * radius
    shades = rng.uniform(0.65, 1.25, 16)
    for (dx, dy), size, shade in zip(offsets.tolist(), sizes.tolist(), shades.tolist(), strict=True):
        camera.disc(x + dx, trunk + radius + dy, z, size, shaded(leaves, shade), TREE)


def car(camera: Camera, x: float, z: float) -> None:
    """Draw a body and a cabin, seen from behind or in front and from the side that faces the camera."""
    rng, color = camera.rng, camera.pick(PAINTS)
    half, length = rng.uniform(0.8, 0.95), rng.uniform(3.4, 4.8)
    waist, roof = rng.uniform(0.85, 1.1), rng.uniform(1.4, 1.9)
    glass = camera.pick(((50, 58, 68), camera.haze))
    camera.shadow(x, z + length / 2, half * 1.3)
    toward = -1 if x > 0 else 1
    side, inner, end = x + toward * half, x + toward * (half - 0.12), z + length
    dark = shaded(color, 0.75)
    camera.flank(side, (0.25, waist), (z, end), dark, CAR)
    camera.flank(inner, (waist, roof), (z + 0.5, end - 0.9), dark, CAR)
    camera.flank(inner, (waist, roof - 0.12), (z + 0.75, end - 1.2), glass)
    for wheel in (z + 0.75, end - 0.8):
        camera.flank(side, (0, 0.6), (wheel - 0.3, wheel + 0.3), BLACK, CAR)
    for dx in (-half + 0.05, half - 0.25):
        camera.board((x + dx, x + dx + 0.2), (0, 0.4), z, BLACK, CAR)
    camera.board((x - half, x + half), (0.25, waist), z, color, CAR)
    for margin, paint, label in ((0.0, color, CAR), (0.12, glass, None)):
        low, high = half - margin, half - 0.18 - margin
        y0, y1, deep = waist + margin / 2, roof - margin, z + 0.5
        corners = [(x - low, y0, z), (x + low, y0, z), (x + high, y1, deep), (x - high, y1, deep)]
        camera.face(corners, paint, label)
    lights = camera.pick(((190, 40, 36), (236, 232, 210)))
    for dx in (-half + 0.05, half - 0.35):
        camera.board((x + dx, x + dx + 0.3), (waist - 0.3, waist - 0.12), z, lights)


def lamp(camera: Camera, x: float, z: float, toward: int) -> None:
    """Draw a lamp post with its arm over the road."""
    height, thick = camera.rng.uniform(4.5, 8), camera.rng.uniform(0.04, 0.08)
    color = camera.pick(((84, 86, 88), (140, 142, 140), (60, 70, 62)))
    camera.board((x - thick, x + thick), (0, height), z, color, POLE)
    end = x + toward * camera.rng.uniform(0.6, 1.8)
    camera.board((min(x, end), max(x, end)), (height - 0.1, height), z, color, POLE)


def sign(camera: Camera, x: float, z: float) -> None:
    """Draw a traffic sign or a traffic light on a thin pole."""
    rng = camera.rng
    y, size = rng.uniform(2.0, 2.8), rng.uniform(0.32, 0.5)
    camera.board((x - 0.05, x + 0.05), (0, y), z, camera.pick(((120, 122, 122),)), POLE)
    color, kind = camera.pick(SIGNALS), int(rng.integers(4))
    if kind == 0:
        camera.disc(x, y, z, size, color, SIGN)
        camera.disc(x, y, z, size * 0.6, WHITE)
    elif kind == 1:
        for part, paint, label in ((1.0, color, SIGN), (0.5, WHITE, None)):
            reach = size * part
            camera.flat([(x - reach, y - reach), (x + reach, y - reach), (x, y + reach)], z, paint, label)
    elif kind == 2:
        camera.board((x - size, x + size), (y - size, y + size), z, color, SIGN)
        camera.board((x - size / 2, x + size / 2), (y - size / 4, y + size / 4), z, WHITE)
    else:
        camera.board((x - 0.24, x + 0.24), (y - 0.6, y + 0.5), z, BLACK, SIGN)
        lit = int(rng.integers(3))
        light = ((60, 210, 120), (240, 180, 40), (230, 50, 40))[lit]
        camera.disc(x, y - 0.4 + 0.35 * lit, z, 0.15, light)


def person(camera: Camera, x: float, z: float) -> None:
    """Draw legs, a coat and a head."""
    rng = camera.rng
    height = rng.uniform(1.2, 1.9)
    coat, trousers = camera.pick(PAINTS), camera.pick(PAINTS)
    wide, stride = height * rng.uniform(0.11, 0.15), rng.uniform(0, 0.14)
    camera.shadow(x, z, 0.35)
    for leg in (-1, 1):
        foot, hip, top = x + leg * (0.07 + stride), x + leg * 0.06, height * 0.5
        corners = [(foot - 0.07, 0), (foot + 0.07, 0), (hip + 0.09, top), (hip - 0.09, top)]
        camera.flat(corners, z, trousers, PERSON)
    hem = height * rng.uniform(0.35, 0.48)
    camera.board((x - wide, x + wide), (hem, height * 0.83), z, coat, PERSON)
    camera.disc(x, height * 0.92, z, height * 0.075, camera.pick(SKINS), PERSON)


def bicyclist(camera: Camera, x: float, z: float) -> None:
    """Draw a rider on a bicycle, from the side or from behind; the bicycle has the same label."""
    rng = camera.rng
    coat, trousers = camera.pick(PAINTS), camera.pick(PAINTS)
    way = int(rng.choice((-1, 1))) if rng.random() < 0.6 else 0  # 0: along the street
    camera.shadow(x, z, 0.5)
    if way:
        for axle in (x - 0.48, x + 0.48):
            camera.ring(axle, 0.34, z, 0.34, BLACK, BICYCLIST)
        corners = [(x - 0.48, 0.34), (x + 0.48, 0.34), (x + way * 0.38, 0.95), (x - way * 0.2, 0.9)]
        camera.flat(corners, z, camera.pick(SIGNALS), BICYCLIST)
    else:
        camera.board((x - 0.06, x + 0.06), (0, 0.7), z, BLACK, BICYCLIST)
        camera.board((x - 0.3, x + 0.3), (0.95, 1.03), z, BLACK, BICYCLIST)
    hip, neck = x - way * 0.2, x + way * 0.15
    legs = [(hip - 0.1, 1.0), (hip + 0.12, 1.0), (x + 0.14, 0.3), (x - 0.06, 0.3)]
    camera.flat(legs, z, trousers, BICYCLIST)
    back = [(hip - 0.17, 0.9), (hip + 0.17, 0.9), (neck + 0.2, 1.45), (neck - 0.2, 1.45)]
    camera.flat(back, z, coat, BICYCLIST)
    camera.disc(neck + way * 0.08, 1.6, z, 0.13, camera.pick((*SKINS, *SIGNALS)), BICYCLIST)
