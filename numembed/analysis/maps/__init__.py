"""Maps of vectors in two or three dimensions, and how faithful they are."""
