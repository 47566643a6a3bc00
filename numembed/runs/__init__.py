"""Carrying out what was asked: studies, the job table, and the one worker process that imports torch."""
