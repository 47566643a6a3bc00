"""Carrying out requests: studies, the job table, and the one worker process that imports torch."""
