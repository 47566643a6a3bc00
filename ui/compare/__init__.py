"""Compare: scores and maps of the chosen models."""
