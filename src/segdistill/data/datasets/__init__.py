"""Data sets as tensors: base classes, and sources of their items."""
