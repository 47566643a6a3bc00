"""The parts of the pages, a folder a page: they ask, show and explain, and compute nothing."""
