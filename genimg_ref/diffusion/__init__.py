"""Diffusion models and flows."""
