"""Replay of a teacher: its answers to crops of the training images, recorded once in a folder that all runs share."""
