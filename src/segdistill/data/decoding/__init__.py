"""Decoding of image and mask files into arrays."""
