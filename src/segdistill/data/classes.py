"""Names and colors of classes, and the void label."""

from dataclasses import dataclass

Color = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

VOID = 255
"""The label of ignored pixels, in every tensor of this package."""


@dataclass(frozen=True)
class Classes:
    """The classes of a data set. Class ``i`` is named ``names[i]`` and drawn in ``palette[i]``.

    Attributes:
        names: One name per class index.
        palette: One color per class, for pictures. Defaults to Pascal VOC's colors, distinct for the first 256 classes.
        ignore_index: The label of void pixels in the tensors (not necessarily in the files).
        void: Indices of classes that mean void. They occur in no label, are never predicted and never scored.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...] = ()
    ignore_index: int = VOID
    void: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.palette:
            object.__setattr__(self, "palette", tuple(color(i) for i in range(len(self.names))))

    def __len__(self) -> int:
        return len(self.names)


def color(index: int) -> Color:
    """Return Pascal VOC's color of a class index.

    The bits of ``index`` are dealt in turn to red, green and blue, highest bit first. All indices in 0..255 have
    distinct colors; index 0 is black.
    """
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
