"""The weights of T5's encoder as transformers names them."""

from ldm_jax.encoders.t5 import BUCKETS, Sizes
from ldm_jax.errors import InputError
from ldm_jax.weights.names.layers import dense, embedding
from ldm_jax.weights.table import SAME, Row, State, Table, renamed

SHARED, COPY = "shared.weight", "encoder.embed_tokens.weight"  # one array, under either or both
DECODER = ("decoder.", "lm_head.")  # of a whole T5, which are not read
GATED = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"


def t5(config: Sizes) -> Table:
    """Rows of the encoder."""
    dim, inner = config.dim, config.num_heads * config.head_dim
    table = embedding("token/embedding", SHARED.removesuffix(".weight"), config.vocab_size, dim)
    first = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"
    table += embedding("relative", first, BUCKETS, config.num_heads)
    for n in range(config.layers):
        here, attention = f"block_{n}", f"encoder.block.{n}.layer.0"
        feed_forward = f"encoder.block.{n}.layer.1"
        table.append(_norm(f"{here}/norm1", f"{attention}.layer_norm", dim))
        for name in ("q", "k", "v"):
            there = f"{attention}.SelfAttention.{name}"
            table += dense(f"{here}/{name}", there, dim, inner, bias=False)
        table += dense(f"{here}/out", f"{attention}.SelfAttention.o", inner, dim, bias=False)
        table.append(_norm(f"{here}/norm2", f"{feed_forward}.layer_norm", dim))
        for name, there in (("gate", "wi_0"), ("ff_in", "wi_1")):
            there = f"{feed_forward}.DenseReluDense.{there}"
            table += dense(f"{here}/{name}", there, dim, config.ff_dim, bias=False)
        there = f"{feed_forward}.DenseReluDense.wo"
        table += dense(f"{here}/ff_out", there, config.ff_dim, dim, bias=False)
    table.append(_norm("norm", "encoder.final_layer_norm", dim))
    return table


def _norm(here: str, there: str, channels: int) -> Row:
    return Row(f"{here}/scale", (f"{there}.weight",), (channels,), SAME)


def without_decoder(state: State, file: str) -> State:
    """The encoder's weights of a file, the table of tokens under one name.

    Raises:
        InputError: a T5 of version 1.0, whose feed-forward layer has no gate.
    """
    if GATED.replace("wi_0", "wi") in state:
        raise InputError(
            f"'{file}' is a T5 of version 1.0: expected version 1.1 or Flan-T5, whose feed-forward "
            "layers are gated"
        )
    names = {key: key for key in state if not key.startswith(DECODER) and key != COPY}
    return renamed(state, names if SHARED in state else names | {SHARED: COPY})
