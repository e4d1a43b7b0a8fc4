"""What the label values mean: names, colors and the void label."""

from dataclasses import dataclass

Color = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

VOID = 255
"""The label of pixels that do not count, in every tensor of this package."""


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset; class ``i`` is ``names[i]`` and is drawn in ``palette[i]``.

    Attributes:
        names: One name per class index.
        palette: One color per class, for pictures; where none are given, distinct ones for the first 256.
        ignore_index: The label of void pixels in the tensors (not necessarily in the files).
        void: Classes that only name what is void: no label has them, no prediction may, no score counts them.
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
    """Return Pascal VOC's color of a class: the bits of ``index`` dealt to red, green and blue from the top.

    Distinct for every index in 0..255; index 0 is black.
    """
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
