"""The report of a run or of a comparison: one HTML page without links to anything else. Without PyTorch."""
