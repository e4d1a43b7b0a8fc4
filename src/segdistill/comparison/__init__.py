"""Comparisons of methods over seeds, and sweeps over values of keys. Each run is an ordinary run in a subfolder."""
