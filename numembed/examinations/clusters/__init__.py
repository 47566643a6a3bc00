"""What the clusters of a model encode."""
