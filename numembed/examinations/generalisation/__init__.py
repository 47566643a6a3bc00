"""Whether simple classifiers tell families and attributes that they have not seen."""
