"""The smallest BERT: a folder of weights and words, and a model that reads captions by it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.config import BERTText
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.names import bert
from ldm_jax.weights.table import to_original
from tests.support import tiny

CAPTIONS = [f"a {color} block at the {place}" for color in tiny.COLORS for place in tiny.PLACES]
BERT = BERTText(
    dim=8,
    layers=2,
    num_heads=2,
    head_dim=4,
    ff_dim=12,
    positions=16,
    length=10,
    vocab_size=80,
    drop=0.5,
)


def words(config: BERTText):
    """A tokenizer of the captions of `tiny.write_folder`."""
    return tokens.learn(CAPTIONS, config.vocab_size, config.length)


def write_folder(root: Path, seed: int = 0) -> Path:
    """As transformers saves one, with drawn weights."""
    root.mkdir(parents=True)
    tokenizer = words(BERT)
    params = tiny.drawn(BERT.build(BuildContext({"tokens": tokenizer}, None)).init, seed=seed)
    unused = {"pooler.dense.weight": np.zeros((8, 8), "f"), "pooler.dense.bias": np.zeros(8, "f")}
    write_weights(root / "model.safetensors", to_original(bert.bert(BERT), params) | unused)
    tokenizer.save(str(root / "tokenizer.json"))
    return root


def experiment(path="images", **changes):
    """Both stages of `tiny`, with captions by this BERT."""
    base = tiny.experiment(path)
    return replace(
        base, model=replace(base.model, vector_dim=8), **{"conditions": (BERT,), **changes}
    )
