"""Use a trained network: scores, predictions, parameters and operations."""
