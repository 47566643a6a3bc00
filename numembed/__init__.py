"""Compare how text-embedding models represent numbers: sequences → vectors → scores and maps."""

from numembed import examinations as _examinations  # noqa: F401  a study can name all of them

__version__ = "0.1.0"
