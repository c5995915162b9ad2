"""The original names of the text transformer's weights (CompVis/latent-diffusion)."""

from ldm_jax.encoders.transformer import Sizes
from ldm_jax.weights.names.layers import dense, embedding, norm
from ldm_jax.weights.table import Table

# The head that would predict tokens from vectors; latent diffusion never calls it.
TEXT_UNUSED = ("transformer.to_logits.weight", "transformer.to_logits.bias")


def text_transformer(config: Sizes) -> Table:
    """Rows of the BERT-style encoder; the original counts attention and feed-forward together."""
    inner, layers = config.num_heads * config.head_dim, "transformer.attn_layers.layers"
    table = embedding("token/embedding", "transformer.token_emb", config.vocab_size, config.dim)
    table += embedding("position", "transformer.pos_emb.emb", config.length, config.dim)
    for n in range(config.layers):
        attention, feed = f"{layers}.{2 * n}", f"{layers}.{2 * n + 1}"
        table += norm(f"attn_norm_{n}", f"{attention}.0", config.dim)
        for name in "qkv":
            there = f"{attention}.1.to_{name}"
            table += dense(f"attn_{n}/{name}", there, config.dim, inner, bias=False)
        table += dense(f"attn_{n}/out", f"{attention}.1.to_out", inner, config.dim)
        table += norm(f"ff_norm_{n}", f"{feed}.0", config.dim)
        table += dense(f"ff_in_{n}", f"{feed}.1.net.0.0", config.dim, 4 * config.dim)
        table += dense(f"ff_out_{n}", f"{feed}.1.net.2", 4 * config.dim, config.dim)
    return table + norm("norm", "transformer.norm", config.dim)
