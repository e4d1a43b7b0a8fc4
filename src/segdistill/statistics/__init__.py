"""Statistics of paired differences: intervals over seeds and over images. Needs NumPy only, and no other package."""
