"""Decode one mask file into class indices; whatever is wrong with it is a UserError that names the file."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from segdistill.data.classes import VOID, Color
from segdistill.data.decoding.colors import classes_of_colors, moved_color, shown
from segdistill.data.decoding.depth import bits_per_channel, is_inverted, is_signed_byte
from segdistill.data.decoding.images import Array, Source, opened
from segdistill.data.decoding.notes import Note, unsaid
from segdistill.data.layouts import Layout
from segdistill.errors import UserError


def read_values(path: Source, *, note: Note = unsaid) -> NDArray[np.integer]:
    """Return a mask's values as they are in the file, shape (H, W); palette masks give indices.

    Args:
        path: The mask.
        note: Takes what is worth a line about how it was read.

    Raises:
        UserError: If the file is damaged or holds colors.
    """
    with opened(path) as picture:
        return _values(picture, path, note)


def read_mask(
    path: Source,
    num_classes: int,
    *,
    void: int = VOID,
    values: tuple[int, ...] | None = None,
    colors: tuple[Color, ...] | None = None,
    has_own_palette: bool = False,
    gray_is_color: bool = False,
    note: Note = unsaid,
) -> Array:
    """Return the class index of each pixel, shape (H, W), 255 = void.

    Where ``colors`` is given, RGB masks are read by them. Indexed masks are read by their indices, whatever colors
    their palette shows.

    Args:
        path: The mask: values with 1 to 32 bits, whole floats or a palette, or colors where ``colors`` is given.
        num_classes: Class indices must be below, or void.
        void: A further value that means void; of masks in colors, the index of the class that does.
        values: The class of each value in the file, 255 = void; None where the values are the class indices.
        colors: One color per class, and one more for void.
        has_own_palette: These colors are the data set's own: an indexed mask that has them at other indices was
            converted, and is refused.
        gray_is_color: Read gray values as colors, too.
        note: Takes what is worth a line about how it was read.

    Raises:
        UserError: If the file is damaged or holds a value or color that is no class: says which, in how
            many pixels.
    """
    moved = None
    with opened(path) as picture:
        if colors and picture.mode in ("RGB", "RGBA"):
            _check_storage(picture, path)
            labels = classes_of_colors(np.array(picture.convert("RGB")), path, num_classes, colors)
            return _without(void, labels)
        found = _values(picture, path, note)
        if colors and picture.mode == "P":
            moved = moved_color(picture, found, colors, (VOID, void))
    if colors and gray_is_color:
        return _without(void, classes_of_colors(np.stack([found] * 3, axis=-1), path, num_classes, colors))
    if moved:
        index, color, place = moved
        shown_as = f"{list(color)}, the color of {f'class {place}' if place < num_classes else 'void'}"
        if has_own_palette:
            raise UserError(
                f"mask '{path}' has index {index} for {shown_as}; a picture program has numbered its palette anew: "
                "save it in RGB, or with the data set's palette"
            )
    limit = num_classes if values is None else len(values)
    wrong = ((found >= limit) | (found < 0)) & (found != VOID) & (found != void)
    if wrong.any():
        by_index = "; an indexed mask is read by its indices: save it in RGB to have its colors read" if moved else ""
        raise UserError(
            f"mask '{path}' has {shown(np.unique(found[wrong]).tolist())} in {wrong.sum()} pixels; "
            f"expected 0..{limit - 1}, or {VOID}{f' or {void}' if void != VOID else ''} for void{by_index}"
        )
    if moved:
        note(
            f"are indexed and read by their indices, though a palette shows {index} as {shown_as}; where the colors "
            "are meant, save masks in RGB"
        )
    labels = found.astype(np.uint8)
    if values is not None:
        labels = np.array(values + (VOID,) * (VOID + 1 - limit), dtype=np.uint8)[labels]
    if void != VOID:
        labels[found == void] = VOID
    return labels


def _without(void: int, labels: Array) -> Array:
    """Return the labels with 255 for the class that only names what is void."""
    labels[labels == void] = VOID
    return labels


def read_labels(path: Source, num_classes: int, layout: Layout, note: Note = unsaid) -> Array:
    """Return the class index of each pixel, as a data set's layout says; see :func:`read_mask`."""
    return read_mask(
        path,
        num_classes,
        void=layout.void,
        values=layout.values,
        colors=layout.colors,
        has_own_palette=layout.has_own_palette,
        gray_is_color=layout.gray_is_color,
        note=note,
    )


def check_size(labels: Array, size: tuple[int, ...], mask: Source, image: Source) -> None:
    """Check that labels have the (height, width) of their image.

    Raises:
        UserError: If they do not.
    """
    if labels.shape != size:
        mask_size, own_size = (f"{width}x{height}" for height, width in (labels.shape, size))
        raise UserError(
            f"mask '{mask}' is {mask_size} but its image '{image}' is {own_size} "
            "(width x height, upright); a mask needs its image's size"
        )


def _values(picture: ImageFile, path: Source, note: Note) -> NDArray[np.integer]:
    _check_storage(picture, path)
    bits, signed = bits_per_channel(picture), is_signed_byte(picture)
    values: NDArray[Any] = np.array(picture)
    if values.ndim == 3:
        return _one_channel(values, picture.mode, path, note)
    if picture.mode == "F":
        return _whole(values, path)
    if picture.mode == "L" and bits < 8:  # Pillow spreads 2 and 4 bits over 0..255; a class index is what is stored
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
            f"mask '{path}' is a TIFF in which 0 is white: some programs turn its values over, some do not; "
            "write its class indices as PNG"
        )


def _one_channel(values: Array, mode: str, path: Source, note: Note) -> Array:
    """Return the values of a mask of several channels (H, W, channels), where only one of them says something."""
    has_alpha = mode in ("LA", "La", "PA", "RGBA")
    own = values[..., :-1] if has_alpha else values
    if mode not in ("LA", "La", "PA", "RGB", "RGBA") or (own != own[..., :1]).any():
        raise UserError(
            f"mask '{path}' holds colors ({mode}), expected one class index per pixel; "
            "convert the masks or, in a 'folder', give \"palette\" in classes.json"
        )
    if has_alpha and (values[..., -1] != VOID).any():
        raise UserError(
            f"mask '{path}' has transparent pixels ({mode}), expected one class index per pixel; "
            f"give those that are void {VOID}, and save it without the alpha channel"
        )
    equal = ["three equal channels"] if own.shape[-1] == 3 else []
    note(f"have {' and '.join(equal + ['an opaque alpha channel'] * has_alpha)}: their values are the class indices")
    return np.ascontiguousarray(own[..., 0])


def _whole(values: NDArray[np.floating], path: Source) -> NDArray[np.integer]:
    """Return floats that are whole numbers as integers."""
    wrong = values[~((values == np.rint(values)) & (abs(values) < 2**31))]
    if wrong.size:
        raise UserError(
            f"mask '{path}' holds floats that are no whole numbers of 32 bits, {wrong[0]:g} for instance, in "
            f"{wrong.size} pixels; expected class indices: save it as integers, with {VOID} for void"
        )
    return values.astype(np.int64)
