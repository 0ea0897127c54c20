"""Loops, averages of weights, checkpoints."""
