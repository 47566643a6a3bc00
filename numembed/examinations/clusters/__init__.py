"""What the clusters of a model encode, and whether other ways of grouping say the same."""
