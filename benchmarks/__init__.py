"""What the project promises, measured against what one would run instead: ``python -m benchmarks [NAME …]``."""
