"""Tables and pictures made from the records of runs. This package does not import PyTorch."""
