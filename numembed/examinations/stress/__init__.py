"""What changes to texts, digits, order and windows do to a score."""
