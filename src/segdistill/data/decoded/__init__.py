"""Decoded items of a data set: in a file that all processes and runs map, or on the device."""
