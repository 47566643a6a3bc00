"""Families of integers and the sets of sequences drawn from them; importing this registers every family."""

from numembed.sequences.families import family as families  # noqa: F401, I001  first, then its members in the order of the listing
from numembed.sequences.families import classic, arithmetic, controls  # noqa: F401
