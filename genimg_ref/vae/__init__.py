"""Variational autoencoders, one model a file."""
