"""Images and captions in CLIP's embedding space."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from ldm_jax import runs
from ldm_jax.encoders.clip.model import CLIP, MODELS, CLIPName, embed_captions, embed_images
from ldm_jax.encoders.clip.vision import normalised
from ldm_jax.encoders.tokenizers import clip as clip_tokenizer
from ldm_jax.encoders.tokenizers.tokenizer import encode
from ldm_jax.runtime.sharding import devices
from ldm_jax.types import Params
from ldm_jax.weights.names.clip_file import load_clip


class Encoders(NamedTuple):
    """A CLIP with its weights; `facts` are for reports."""

    model: CLIP
    params: Params
    tokenizer: Tokenizer
    facts: dict[str, Any]

    def images(self, batches: Iterable[np.ndarray], size: int) -> np.ndarray:
        """Embeddings [N, dim] of batches [b, side, side, 3] of values 0 ... 255, b <= size."""

        def embed(params, images):
            return embed_images(self.model, params, normalised(images / 255.0))

        return self._each(embed, batches, size)

    def captions(self, captions: Sequence[str], size: int) -> np.ndarray:
        """Embeddings [N, dim], `size` at a time."""
        tokens = np.stack([encode(self.tokenizer, caption) for caption in captions])

        def embed(params, tokens):
            return embed_captions(self.model, params, tokens)

        return self._each(embed, (tokens[i : i + size] for i in range(0, len(tokens), size)), size)

    def _each(self, embed: Callable, batches: Iterable[np.ndarray], size: int) -> np.ndarray:
        """Outputs for batches of at most `size`, over all devices; compiled once."""
        mesh, embed, found = devices("jit"), jax.jit(embed), []
        params = mesh.replicate(self.params)
        for batch in batches:
            rows = np.minimum(np.arange(size), len(batch) - 1)  # padded by the last
            found.append(mesh.collect(embed(params, mesh.share(batch[rows])))[: len(batch)])
        found = np.concatenate(found)
        if bad := int(np.sum(~np.isfinite(found).all(axis=1))):
            raise FloatingPointError(
                f"embeddings of {bad} of {len(found)} examples are not finite: CLIP's weights are "
                "damaged"
            )
        return found


def published(name: CLIPName, weights: str, tokenizer: str | None) -> Encoders:
    """The model of this name, of a file or folder of its weights."""
    model = MODELS[name]
    tokens = clip_tokenizer.load(tokenizer, model.text.length, model.weights)
    found = load_clip(name, model, weights)
    facts = {"clip": name, "weights": found.path.name, "sha256": found.sha256}
    return Encoders(model, found.params, tokens, facts)


def trained(run: str) -> Encoders:
    """The model of a run."""
    found = runs.load_clip(Path(run))
    facts = {"run": str(found.run), "step": found.step, "weights": "averages"}
    return Encoders(found.model, found.params, found.tokenizer, facts)
