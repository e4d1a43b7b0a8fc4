"""Where pictures are read from: a file, or bytes in memory."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]


class InMemory(BytesIO):
    """An encoded picture in memory; ``name`` identifies it in messages."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self._name = name

    def __str__(self) -> str:
        return self._name


Source = Path | InMemory
"""A picture's file, or its bytes."""
