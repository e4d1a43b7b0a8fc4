"""Data sets as tensors: the two kinds, and where their items come from."""
