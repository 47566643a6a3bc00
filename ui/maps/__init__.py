"""Maps: how far the maps of one model can be trusted."""
