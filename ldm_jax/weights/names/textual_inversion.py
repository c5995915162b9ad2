"""Files of textual inversion: vectors of a new word, as the tools keep them.

string_to_param.*     the original's .pt and AUTOMATIC1111's, which has the word beside it
WORD                  diffusers' learned_embeds (.bin, .safetensors), [d] in its first version
emb_params            kohya's .safetensors, whose word is the name of the file
clip_l, clip_g        of Stable Diffusion XL, a set for each text encoder
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.weights.names.family import FAMILIES
from ldm_jax.weights.table import State, float32

PARAM, KOHYA, PAIR = "string_to_param.", "emb_params", ("clip_l", "clip_g")
STAR, STAR_NUMBER = "*", 265  # the word of the original, and its number in CLIP's vocabulary


class Embedding(NamedTuple):
    """The contents of a file.

    vectors:  [n, d] of each text encoder, in their order
    word:     None: that of the file's name
    existing: it is a word of the vocabulary, in whose place the vectors are put
    """

    vectors: tuple[np.ndarray, ...]
    word: str | None = None
    existing: bool = False


def read(arrays: State, metadata: Mapping[str, str]) -> Embedding | None:
    """The embedding in a file; None: it has other things.

    Raises:
        InputError: it has several words, or vectors that are none.
    """
    keys = sorted(arrays)
    if keys == sorted(PAIR):
        return Embedding(tuple(_vectors(arrays, key) for key in PAIR))
    own = [key for key in keys if key.startswith(PARAM)]
    if len(own) > 1:
        raise InputError(
            f"the file has vectors for {len(own)} words ({', '.join(own[:5])}): expected one word"
        )
    if own:
        word = metadata.get("name")
        star = own[0].removeprefix(PARAM)
        return Embedding((_vectors(arrays, own[0]),), word or star, existing=not word)
    if len(keys) != 1 or re.search(r"\.(weight|bias)$", keys[0]) or np.ndim(arrays[keys[0]]) > 2:
        return None
    return Embedding((_vectors(arrays, keys[0]),), None if keys[0] == KOHYA else keys[0])


def _vectors(arrays: State, key: str) -> np.ndarray:
    """The vectors under a key, float32 [n, d]."""
    found = float32(arrays[key], key)
    if found.ndim not in (1, 2) or not found.size:
        raise InputError(f"{key} has shape {found.shape}: expected vectors [n, d], or one [d]")
    return np.atleast_2d(found)


def safetensors(word: str, vectors: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a file for diffusers (its learned_embeds.safetensors), and of two text encoders
    for all that read Stable Diffusion XL's."""
    keys = PAIR if len(vectors) == len(PAIR) else (word,)
    return {key: np.asarray(x) for key, x in zip(keys, vectors, strict=True)}


def automatic1111(word: str, vectors: np.ndarray) -> dict[str, Any]:
    """The tree of AUTOMATIC1111's .pt."""
    return {
        "string_to_token": {STAR: STAR_NUMBER},
        "string_to_param": {STAR: np.asarray(vectors)},
        "name": word,
        "step": 0,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }


def width(dim: int) -> str:
    """A width of vectors, and the base that has it."""
    return f"{dim} ({FAMILIES[dim]})" if dim in FAMILIES else str(dim)
