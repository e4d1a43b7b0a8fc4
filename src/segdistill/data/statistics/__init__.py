"""Counts over a data set's labels and images."""
