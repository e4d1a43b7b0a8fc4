"""Version of the package. It is here, below all else, so that a record of a run can name it."""

__version__ = "0.1.0"
