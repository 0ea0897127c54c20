"""Generative adversarial networks, one model a file."""
