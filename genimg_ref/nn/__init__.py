"""Building blocks that at least two families use."""
