"""Data sets that are drawn instead of read: street scenes and shapes."""
