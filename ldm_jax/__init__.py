"""Latent diffusion in JAX, written as functions; `ldm_jax.load` for a program, see library.py."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Model", "load", "train"]


def __getattr__(name: str) -> Any:
    """What a library gives; imported when it is first asked for, since that takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module 'ldm_jax' has no attribute '{name}'")
    from ldm_jax import library

    return getattr(library, name)
