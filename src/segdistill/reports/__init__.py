"""Tables and pictures from a run's records. Nothing here imports PyTorch."""
