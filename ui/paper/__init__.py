"""Paper: its figures, its numbers and its claims."""
