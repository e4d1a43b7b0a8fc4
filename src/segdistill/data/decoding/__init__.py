"""Decode image and mask files into arrays."""
