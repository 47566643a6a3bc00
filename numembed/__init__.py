"""Compare how text-embedding models represent numbers: sequences → vectors → scores and maps."""
