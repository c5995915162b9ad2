"""BERT's weights as transformers names them."""

from ldm_jax.encoders.bert import SEGMENTS, Sizes
from ldm_jax.weights.names.layers import dense, embedding, norm
from ldm_jax.weights.table import State, Table, renamed

PREFIX = "bert."  # of a BERT with heads, which are not read
UNUSED = ("pooler.dense.weight", "pooler.dense.bias")


def bert(config: Sizes) -> Table:
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


def without_heads(state: State) -> State:
    """The encoder's weights without the prefix that they have beside heads."""
    there = [key for key in state if key.startswith(PREFIX)] or list(state)
    return renamed(state, {key.removeprefix(PREFIX): key for key in there})
