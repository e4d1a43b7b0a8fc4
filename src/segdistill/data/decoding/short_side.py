"""The size of an image at a short side. This module does not import PyTorch."""


def at_short_side(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return the height and width of an image that is resized to a short side; the aspect ratio is kept."""
    factor = short_side / min(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))
