"""Where decoded images are kept between epochs: nowhere, in memory, in a file for each split, or on the device."""

from typing import Literal, get_args

Kind = Literal["memory", "memmap", "device"]

KINDS: tuple[Kind, ...] = get_args(Kind)

Cache = bool | Kind
"""A value of ``data.cache``. True is "memory"."""

FOLDER = "segdistill_cache"
"""The folder of decoded images in that of a data set."""
