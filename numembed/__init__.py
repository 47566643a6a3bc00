"""Compare how text-embedding models represent numbers: sequences → vectors → scores and maps."""

__version__ = "0.1.0"
