"""Prints how far BERT with published weights is from what make/bert.py wrote to a file.

python -m tests.parity.cases.bert FOLDER FILE.npz
"""

import json
import math
import sys
from pathlib import Path

import jax
import numpy as np
from tokenizers import Tokenizer, models

from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.config import BERTText
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.weights.names import bert as names
from ldm_jax.weights.table import shapes, to_here
from tests.parity import compare
from tests.parity.cases import bert_cases as cases
from tests.parity.cases import drawn

SMALL = BERTText(
    dim=cases.DIM,
    layers=cases.LAYERS,
    num_heads=cases.HEADS,
    head_dim=cases.DIM // cases.HEADS,
    ff_dim=cases.FF_DIM,
    positions=cases.POSITIONS,
    length=cases.LENGTH,
    vocab_size=cases.PIECES,
)


def small() -> dict[str, np.ndarray]:
    """Ours, of the drawn weights and captions."""
    nothing = tokens.fit(Tokenizer(models.WordPiece({"[PAD]": 0}, unk_token="[PAD]")), cases.LENGTH)
    table = names.bert(SMALL)
    params = to_here(table, drawn.state(shapes(table)))
    return answers(SMALL, nothing, params, cases.tokens())


def answers(config, tokenizer, params, numbers) -> dict[str, np.ndarray]:
    conditioner = config.build(BuildContext({"tokens": tokenizer}, None))
    with jax.default_matmul_precision("highest"):
        cond = jax.jit(conditioner.apply)(params, {"tokens": numbers})
    unit = np.asarray(cond.vector) / math.sqrt(config.dim)
    return {"tokens": np.asarray(cond.tokens), "sentence": unit}


def published(folder: str) -> dict[str, np.ndarray]:
    """Ours, of the weights and words in a folder."""
    said = json.loads((Path(folder) / "config.json").read_text())
    config = BERTText(
        dim=said["hidden_size"],
        layers=said["num_hidden_layers"],
        num_heads=said["num_attention_heads"],
        head_dim=said["hidden_size"] // said["num_attention_heads"],
        ff_dim=said["intermediate_size"],
        positions=said["max_position_embeddings"],
        length=cases.FULL_LENGTH,
        vocab_size=said["vocab_size"],
        weights=folder,
    )
    tokenizer = config.find_tokenizer(None, list)
    numbers = np.stack([tokens.encode(tokenizer, caption) for caption in cases.captions()])
    return answers(config, tokenizer, config.published(), numbers) | {"numbers": numbers}


if __name__ == "__main__":
    ours = published(sys.argv[1])
    with np.load(sys.argv[2]) as reference:
        same = np.array_equal(ours.pop("numbers"), reference["numbers"])
        print("token numbers:", "equal" if same else "DIFFERENT")
        pairs = {name: (x, reference[name]) for name, x in ours.items()}
        sizes = np.sqrt(np.mean(np.square(ours["tokens"][ours["tokens"].any(-1)])))
        print(f"{len(cases.captions())} captions, states of size {sizes:.2f}")
        print(compare.table("MiniLM-L6", pairs))
