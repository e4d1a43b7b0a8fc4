"""Gray masks of less than 8 bits. A lossless PNG optimizer stores the values 0 and 255 in one bit, as 0 and 1."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from segdistill.data.classes import VOID
from segdistill.data.decoding.depth import bits_per_channel
from segdistill.data.decoding.examples import Example, first_mask, known_mask
from segdistill.data.decoding.images import Source
from segdistill.errors import UserError

_WHITE = 255


def gray_factor(picture: ImageFile) -> int:
    """Return the gray value that a stored 1 shows: 255 in one bit, 85 in two, 17 in four, else 1.

    Call it before the picture is decoded.
    """
    if picture.mode == "1":
        return _WHITE
    return _WHITE // (2 ** bits_per_channel(picture) - 1) if picture.mode == "L" else 1


def check_same_depth(
    place: str, path: Source, values: NDArray[np.integer], factor: int, is_label: Callable[[int], bool]
) -> None:
    """Check that a data set does not hold both gray masks of few bits and others, if the grays may be its labels.

    In one bit, 1 may be 255 if another mask holds 255, which is void. In two or four bits, it may be 85 or 17 if that
    is a label. If all masks have few bits, the stored values are the labels.

    Args:
        place: The data set.
        path: The mask.
        values: Its stored values.
        factor: The gray value that a stored 1 shows.
        is_label: Whether a value is a label or void.

    Raises:
        UserError: If the data set holds both.
    """
    if factor == 1:
        of_8_bits = first_mask(place, "8 bits", path)
        narrow = known_mask(place, "few bits")
        if VOID in values:
            of_8_bits = first_mask(place, "void", path)
            narrow = narrow or known_mask(place, "black and white")
    else:
        if not values.any() or not all(is_label(int(value) * factor) for value in np.unique(values)):
            return
        is_bit = factor == _WHITE
        narrow = first_mask(place, "black and white" if is_bit else "few bits", path, factor)
        found = known_mask(place, "void" if is_bit else "8 bits")
        if found is None:
            return
        of_8_bits = found
    if narrow is not None:
        raise _uncertain(narrow, of_8_bits)


def _uncertain(narrow: Example, of_8_bits: Example) -> UserError:
    gray = narrow.value
    divided = "" if gray == _WHITE else f" // {gray}"
    return UserError(
        f"mask '{narrow.name}' stores 1 for gray {gray}, and either can be the label, because mask '{of_8_bits.name}' "
        f"{'holds 255' if gray == _WHITE else 'has 8 bits'}; PNG optimizers reduce the bits: save the masks in 8 bits, "
        "with Pillow's Image.open(path).convert('L') if the grays are the labels, or "
        f"Image.fromarray(numpy.uint8(Image.open(path)){divided}) if the stored values are"
    )
