"""Decoding of mask files into class indices. Every problem is a UserError that names the file."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from segdistill.data.classes import VOID, Color
from segdistill.data.decoding.colors import classes_of_colors, first_of, positions_of
from segdistill.data.decoding.depth import bits_per_channel, is_inverted, is_signed_byte
from segdistill.data.decoding.gray_depth import check_same_depth, gray_factor
from segdistill.data.decoding.images import UPRIGHT, Array, Source, opened, orientation
from segdistill.data.decoding.notes import Note, ignore_note
from segdistill.data.decoding.palettes import Palette, check_grays, check_same_colors, gray_of_one, palette_of
from segdistill.data.layouts import Layout
from segdistill.errors import UserError


def read_values(path: Source, *, note: Note = ignore_note) -> NDArray[np.integer]:
    """Return a mask's stored values, shape (H, W); a palette mask gives its indices.

    Args:
        path: The mask.
        note: Called with remarks about how the mask was read.

    Raises:
        UserError: If the file is damaged or holds colors.
    """
    return read_stored(path, note=note)[0]


def read_stored(path: Source, *, note: Note = ignore_note) -> tuple[NDArray[np.integer], Palette | None]:
    """Return what :func:`read_values` returns, and the palette of an indexed mask."""
    with opened(path) as picture:
        return _values(picture, path, note), palette_of(picture)


def read_mask(
    path: Source,
    num_classes: int,
    *,
    void: int = VOID,
    values: tuple[int, ...] | None = None,
    colors: tuple[Color, ...] | None = None,
    gray_is_color: bool = False,
    place: str = "",
    note: Note = ignore_note,
) -> Array:
    """Return the class index of each pixel, shape (H, W); 255 = void.

    RGB masks are read by ``colors``, if given. Indexed masks are read by their indices, unless their palette shows that
    the indices are not the labels.

    Args:
        path: The mask: values of 1 to 32 bits, whole floats, a palette, or colors if ``colors`` is given.
        num_classes: Number of classes.
        void: Another value that means void. For masks in colors, the index of the class that means void.
        values: The class of each stored value, 255 = void; None if the stored values are class indices.
        colors: One color per class; optionally one more, for void.
        gray_is_color: Read gray values as colors, too.
        place: The data set of the mask; its indexed masks must show the same colors. Empty: they are not compared.
        note: Called with remarks about how the mask was read.

    Raises:
        UserError: If the file is damaged, holds a value or color that is no class, or has a palette in which the
            indices may not be the labels: with the colors of classes at other indices, with gray values that are
            labels at other indices, or with other colors than an earlier mask. The message names the values.
    """
    with opened(path) as picture:
        if colors and picture.mode in ("RGB", "RGBA"):
            _check_storage(picture, path)
            _check_upright(picture, path)
            labels = classes_of_colors(np.array(picture.convert("RGB")), path, num_classes, colors)
            return _without(void, labels)
        factor = gray_factor(picture)
        stored = _values(picture, path, note)
        palette = palette_of(picture)
    limit = num_classes if values is None else len(values)

    def is_label(value: int) -> bool:
        return value < limit or value in (VOID, void)

    if palette is not None:
        _check_palette(palette, path, num_classes, is_label, void, None if gray_is_color else colors)
    if colors and gray_is_color:
        return _without(void, classes_of_colors(np.stack([stored] * 3, axis=-1), path, num_classes, colors))
    if palette is None or not all(map(is_label, palette.used.tolist())):
        _check_values(stored, path, limit, void)
    if place:
        if palette is not None:
            check_same_colors(place, path, palette)
        check_same_depth(place, path, stored, gray_of_one(palette) if palette else factor, is_label)
    labels = stored.astype(np.uint8)
    if values is not None:
        labels = np.array(values + (VOID,) * (VOID + 1 - limit), dtype=np.uint8)[labels]
    if void != VOID:
        labels[stored == void] = VOID
    return labels


def _check_values(stored: NDArray[np.integer], path: Source, limit: int, void: int) -> None:
    """Raise if stored values are neither below ``limit`` nor void."""
    wrong = ((stored >= limit) | (stored < 0)) & (stored != VOID) & (stored != void)
    if wrong.any():
        raise UserError(
            f"mask '{path}' has {first_of(np.unique(stored[wrong]).tolist())} in {wrong.sum()} pixels; "
            f"expected 0..{limit - 1}, or {VOID}{f' or {void}' if void != VOID else ''} for void"
        )


def _check_palette(
    palette: Palette,
    path: Source,
    num_classes: int,
    is_label: Callable[[int], bool],
    void: int,
    colors: tuple[Color, ...] | None,
) -> None:
    """Raise if a palette shows that its indices may not be the labels. A palette of the classes' colors settles it."""
    used = palette.used[palette.used != void]
    positions = positions_of(palette.entries[used], colors) if colors else None
    if positions is None:
        check_grays(palette, path, is_label)
    elif (moved := np.flatnonzero(positions != used)).size:
        index, position = int(used[moved[0]]), int(positions[moved[0]])
        raise UserError(
            f"mask '{path}' has index {index} for {list(palette.color(index))}, the color of "
            f"{f'class {position}' if position < num_classes else 'void'}; a picture program or PNG optimizer has "
            "renumbered its palette: save it in RGB, or without palette if its indices are the classes"
        )


def _without(void: int, labels: Array) -> Array:
    """Replace the class that means void by 255."""
    labels[labels == void] = VOID
    return labels


def read_labels(path: Source, num_classes: int, layout: Layout, note: Note = ignore_note) -> Array:
    """Return the class index of each pixel, decoded as a layout defines; see :func:`read_mask`."""
    return read_mask(
        path,
        num_classes,
        void=layout.void,
        values=layout.values,
        colors=layout.colors,
        gray_is_color=layout.gray_is_color,
        place=layout.place,
        note=note,
    )


def check_size(labels: Array, size: tuple[int, ...], mask: Source, image: Source) -> None:
    """Check that labels have the (height, width) of their image.

    Raises:
        UserError: If the sizes differ.
    """
    if labels.shape != size:
        mask_size, image_size = (f"{width}x{height}" for height, width in (labels.shape, size))
        raise UserError(
            f"mask '{mask}' is {mask_size} but its image '{image}' is {image_size} "
            "(width x height, upright); both must have the same size"
        )


def _values(picture: ImageFile, path: Source, note: Note) -> NDArray[np.integer]:
    _check_storage(picture, path)
    bits, signed = bits_per_channel(picture), is_signed_byte(picture)
    _check_upright(picture, path)
    values: NDArray[Any] = np.array(picture)
    if values.ndim == 3:
        return _one_channel(values, picture.mode, path, note)
    if picture.mode == "F":
        return _whole(values, path)
    if picture.mode == "L" and bits < 8:  # Pillow scales 2 and 4 bits to 0..255; undo it
        values //= 255 // (2**bits - 1)
    if signed:
        return values.view(np.int8)
    return values.astype(np.uint8) if values.dtype == bool else values


def _check_storage(picture: ImageFile, path: Source) -> None:
    bits = bits_per_channel(picture)
    if bits > 8 and len(picture.getbands()) > 1:
        raise UserError(
            f"mask '{path}' has {bits} bits in each of several channels ({picture.mode}); expected one class index "
            "per pixel, or colors of 8 bits: convert it"
        )
    if is_inverted(picture):
        raise UserError(
            f"mask '{path}' is a TIFF in which 0 is white: programs disagree whether to invert its values; "
            "save its class indices as PNG"
        )


def _check_upright(picture: ImageFile, path: Source) -> None:
    """Raise if a mask has an EXIF orientation. It may be left over from its image. Call it last: it decodes a PNG."""
    if (found := orientation(picture)) != UPRIGHT:
        raise UserError(
            f"mask '{path}' has EXIF orientation {found}, and programs disagree whether to turn its labels; save it "
            "upright and without EXIF data"
        )


def _one_channel(values: Array, mode: str, path: Source, note: Note) -> Array:
    """Return the values of a mask (H, W, channels) whose channels are equal, apart from an opaque alpha channel."""
    has_alpha = mode in ("LA", "La", "PA", "RGBA")
    channels = values[..., :-1] if has_alpha else values
    if mode not in ("LA", "La", "PA", "RGB", "RGBA") or (channels != channels[..., :1]).any():
        raise UserError(
            f"mask '{path}' holds colors ({mode}), expected one class index per pixel; "
            "convert the masks or, in a 'folder', give \"palette\" in classes.json"
        )
    if has_alpha and (values[..., -1] != VOID).any():
        raise UserError(
            f"mask '{path}' has transparent pixels ({mode}), expected one class index per pixel; "
            f"set void pixels to {VOID} and save it without the alpha channel"
        )
    equal = ["three equal channels"] if channels.shape[-1] == 3 else []
    note(f"have {' and '.join(equal + ['an opaque alpha channel'] * has_alpha)}: their values are the class indices")
    return np.ascontiguousarray(channels[..., 0])


def _whole(values: NDArray[np.floating], path: Source) -> NDArray[np.integer]:
    """Convert whole floats to integers."""
    wrong = values[~((values == np.rint(values)) & (abs(values) < 2**31))]
    if wrong.size:
        raise UserError(
            f"mask '{path}' holds floats that are not whole numbers of 32 bits, for example {wrong[0]:g}, in "
            f"{wrong.size} pixels; expected class indices: save it as integers, with {VOID} for void"
        )
    return values.astype(np.int64)
