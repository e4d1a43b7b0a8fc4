"""Losses and methods as data: a card for each loss, the terms of each method. It does not import PyTorch."""
