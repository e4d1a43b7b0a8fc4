"""Street scenes with labels: the positions of the things in a scene.

Color alone does not identify a class. Walls, cars and clothes share colors; a sky can be as white as a wall, a pavement
as gray as a road. Drainpipes and shop signs belong to buildings, lane markings and shadows to the road.
"""

from collections.abc import Callable

import numpy as np

from segdistill.data.classes import VOID, Color
from segdistill.data.decoding.images import Array
from segdistill.data.generated.street import things
from segdistill.data.generated.street.camera import (
    BUILDING,
    LEAVES,
    PAINTS,
    PAVEMENT,
    ROAD,
    SKIES,
    TREE,
    Camera,
    shaded,
)

__all__ = ["draw_street"]


def draw_street(rng: np.random.Generator, height: int, width: int) -> tuple[Array, Array]:
    """Return an RGB image of shape (H, W, 3) and labels of shape (H, W), both uint8, drawn at random with ``rng``."""
    camera = Camera(rng, height, width)
    kerbs = -rng.uniform(2.5, 6.5), rng.uniform(2.5, 6.5)
    walls = kerbs[0] - rng.uniform(2.2, 5.5), kerbs[1] + rng.uniform(2.2, 5.5)
    _sky(camera)
    _ground(camera, kerbs, walls)
    for _, draw in sorted(_stand(camera, kerbs, walls), key=lambda thing: -thing[0]):  # from far to near
        draw()
    if rng.random() < 0.5:
        _bonnet(camera)
    return camera.photograph()


def _sky(camera: Camera) -> None:
    """Draw the sky: a gradient with a few clouds."""
    rng, top = camera.rng, camera.pick(SKIES)
    for row in range(round(camera.horizon) + 1):
        camera.paint.line([(0, row), (camera.width, row)], fill=camera.mixed(top, row / camera.horizon))
    for _ in range(rng.integers(5)):
        x, y = rng.uniform(0, camera.width), rng.uniform(0, camera.horizon)
        right, low = x + rng.uniform(0.05, 0.3) * camera.width, y + rng.uniform(0.01, 0.05) * camera.height
        camera.paint.ellipse([x, y, right, low], fill=camera.pick(((232, 234, 236), camera.haze)))


def _ground(camera: Camera, kerbs: tuple[float, float], walls: tuple[float, float]) -> None:
    """Draw the ground: pavement, the road on it, curbs, markings, repairs and shadows."""
    rng, white = camera.rng, camera.pick(((206, 206, 200),))
    road, pavement = _gray(rng.uniform(70, 130), rng), _gray(rng.uniform(80, 160), rng)
    box = [0, camera.horizon, camera.width, camera.height]
    camera.paint.rectangle(box, fill=pavement)
    camera.mark.rectangle(box, fill=PAVEMENT)
    for z in np.geomspace(4, 40, 14).tolist():  # joints between the slabs
        camera.paint.line([camera.at(x, 0, z) for x in walls], fill=shaded(pavement, 0.92))
    camera.floor(kerbs, (1.2, 300), road, ROAD)
    for kerb in kerbs:
        camera.floor((kerb - 0.12, kerb + 0.12), (1.2, 60), shaded(pavement, 1.2))
    middle = sum(kerbs) / 2
    for z in np.arange(rng.uniform(2, 6), 60, rng.uniform(4, 8)).tolist():
        camera.floor((middle - 0.07, middle + 0.07), (z, z + 2.5), white)
    if rng.random() < 0.25:  # a crossing
        z = rng.uniform(7, 20)
        for x in np.arange(kerbs[0] + 0.4, kerbs[1] - 0.6, 1.0).tolist():
            camera.floor((x, x + 0.5), (z, z + 3), white)
    for _ in range(rng.integers(6)):
        x, z = rng.uniform(*walls), rng.uniform(3, 30)
        patch = shaded(road if kerbs[0] < x < kerbs[1] else pavement, rng.uniform(0.6, 1.12))
        camera.floor((x, x + rng.uniform(0.4, 3)), (z, z + rng.uniform(0.5, 6)), patch)


def _stand(
    camera: Camera, kerbs: tuple[float, float], walls: tuple[float, float]
) -> list[tuple[float, Callable[[], None]]]:
    """Return (distance, function that draws it) for everything on the ground."""
    rng = camera.rng
    scene: list[tuple[float, Callable[[], None]]] = []

    def add(draw: Callable[..., None], x: float, z: float, *more: float) -> None:
        scene.append((z, lambda: draw(camera, x, z, *more)))

    for side, kerb, wall in zip((-1, 1), kerbs, walls, strict=True):
        add(_backdrop, 0.0, 130, side)
        z = rng.uniform(2.5, 9)
        while z < 90:
            length = rng.uniform(6, 16)
            if rng.random() < 0.75:
                add(things.building, wall, z, side, length)
            elif rng.random() < 0.7:
                add(things.tree, wall + side * rng.uniform(1, 4), z)
            z += length + (rng.uniform(2, 10) if rng.random() < 0.3 else 0)
        for z in np.arange(rng.uniform(6, 24), 50, rng.uniform(18, 38)).tolist():
            add(things.lamp, kerb + side * rng.uniform(0.3, 0.8), z, -side)
        for _ in range(rng.poisson(1.1)):
            add(things.tree, kerb + side * rng.uniform(0.7, 1.6), rng.uniform(7, 45))
        for _ in range(rng.poisson(1.3)):
            add(things.car, kerb - side * rng.uniform(1.0, 1.3), rng.uniform(7, 45))  # parked
        for _ in range(rng.poisson(2.2)):
            add(things.person, rng.uniform(min(kerb, wall), max(kerb, wall)), rng.uniform(4, 14))
        for _ in range(rng.poisson(1.2)):
            add(things.sign, kerb + side * rng.uniform(0.2, 0.7), rng.uniform(4, 12))
    for draw, expected, near, far in (
        (things.car, 0.9, 9, 50),
        (things.person, 0.3, 6, 18),
        (things.bicyclist, 0.9, 4, 10),
    ):
        for _ in range(rng.poisson(expected)):
            add(draw, rng.uniform(kerbs[0] + 0.5, kerbs[1] - 0.5), rng.uniform(near, far))
    return scene


def _backdrop(camera: Camera, x: float, z: float, side: int) -> None:
    """Draw the far end of the street: buildings and trees."""
    while abs(x) < z * camera.width / camera.focal:
        width, height = camera.rng.uniform(6, 20), camera.rng.uniform(4, 14)
        if camera.rng.random() < 0.5:
            camera.board((x - width / 2, x + width / 2), (0, height), z, camera.pick(PAINTS), BUILDING)
        else:
            camera.disc(x, height / 3, z, height * 0.7, camera.pick(LEAVES), TREE)
        x += side * width * 0.8


def _bonnet(camera: Camera) -> None:
    """Draw the hood of the car that carries the camera, labeled void."""
    top = camera.height * camera.rng.uniform(0.9, 0.97)
    edge = camera.width * camera.rng.uniform(0.0, 0.2)
    points = [(edge, top), (camera.width - edge, top), (camera.width, camera.height), (0, camera.height)]
    camera.paint.polygon(points, fill=camera.pick(PAINTS))
    camera.mark.polygon(points, fill=VOID)


def _gray(level: float, rng: np.random.Generator) -> Color:
    red, green, blue = (int(level + shift) for shift in rng.normal(0, 4, 3).tolist())
    return red, green, blue
