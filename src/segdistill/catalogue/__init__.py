"""The losses and methods as data, without PyTorch: cards, and the terms of each method."""
