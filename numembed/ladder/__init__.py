"""The merging experiment: a base, adapters trained from it, merges of these, and what each gains and loses."""
