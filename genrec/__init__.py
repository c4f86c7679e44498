"""genrec: teachers, list generation and alignment for sequential recommendation."""

__version__ = "0.1.0"
