"""Digests of weights, by which what was made with them is recognised."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from ldm_jax.types import Array, FirstStage, Params

SEEN = 4096


def digest(params: Params, first_stage: FirstStage) -> str:
    """What tells the weights of a first stage, but for the scale of its latents, from others."""
    parts = {name: params[name] for name in sorted(first_stage.parts) if name != "decoder"}
    return _digest(parts)


def model_digest(params: Params) -> str:
    """What tells the weights of a model from others, whatever their type of float is.

    Of each array at most SEEN values count, spread over it, rounded to bfloat16.
    """

    def some(x: Array) -> Array:
        flat = x.reshape(-1)
        return flat[:: -(-flat.size // SEEN) or 1].astype(jnp.bfloat16)

    # in one program: by itself, each shape of an array would be compiled
    return _digest(jax.jit(lambda params: jax.tree.map(some, params))(params))


def caption_digest(params: Params, tokenizer: Tokenizer) -> str:
    """A digest of a text encoder: of its weights and its tokenizer."""
    words = json.dumps([sorted(tokenizer.get_vocab().items()), tokenizer.encode("").ids])
    return _digest(params, words)


def _digest(params: Params, words: str = "") -> str:
    found = hashlib.sha256(words.encode())
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        found.update(jax.tree_util.keystr(path).encode())
        found.update(np.asarray(x, np.float32).tobytes())
    return found.hexdigest()[:16]
