"""Statistics of labels and images."""
