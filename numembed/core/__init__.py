"""What every part needs: errors, progress, registries, settings, values as JSON.

Nothing here knows what a sequence, a model or a score is.
"""
