"""Runs: earlier and waiting runs, and the stored vectors."""
