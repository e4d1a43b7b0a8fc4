"""Generated data sets: street scenes and shapes."""
