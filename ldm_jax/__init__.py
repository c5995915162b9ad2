"""Latent diffusion in JAX, written as functions."""

__version__ = "0.1.0"
