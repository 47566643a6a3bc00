"""Charts of the merging experiment."""
