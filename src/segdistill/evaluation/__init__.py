"""Evaluation of trained networks: scores, predictions, numbers of parameters and operations."""
