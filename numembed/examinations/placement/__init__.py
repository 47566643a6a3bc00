"""Where your own text is placed among the sequences."""
