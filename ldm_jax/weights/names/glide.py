"""The names of the weights of GLIDE (openai/glide-text2im).

A file is the state dict of one network that holds the UNet and the text transformer side by side,
without prefixes.
"""

from typing import Any

from ldm_jax.weights.names.layers import PATCH, dense, embedding, norm
from ldm_jax.weights.table import DENSE, SAME, Row, Table, under


def text_transformer(config: Any) -> Table:
    """Rows of the text transformer, settings of which are `GLIDEText`."""
    dim, shape = config.dim, (config.length, config.dim)
    table = embedding("token/embedding", "token_embedding", config.vocab_size, dim)
    table += [Row("position", ("positional_embedding",), shape, SAME)]
    table += [Row("padding", ("padding_embedding",), shape, SAME)]
    for n in range(config.layers):
        here, there = f"block_{n}", f"transformer.resblocks.{n}"
        table += norm(f"{here}/norm1", f"{there}.ln_1", dim)
        table += dense(f"{here}/qkv", f"{there}.attn.c_qkv", dim, 3 * dim)
        table += dense(f"{here}/out", f"{there}.attn.c_proj", dim, dim)
        table += norm(f"{here}/norm2", f"{there}.ln_2", dim)
        table += dense(f"{here}/ff_in", f"{there}.mlp.c_fc", dim, 4 * dim)
        table += dense(f"{here}/ff_out", f"{there}.mlp.c_proj", 4 * dim, dim)
    table += norm("norm", "final_ln", dim)
    return table + dense("vector", "transformer_proj", dim, config.vector_dim)


def noised_image_encoder(of: Any) -> Table:
    """Rows of the image encoder of the noised CLIP, settings of which are `NoisedCLIPModel`."""
    C, positions = of.vision_channels, 1 + (of.size // of.patch) ** 2
    table = [
        Row("time", ("blocks.input.w_t",), (of.timesteps, C), SAME),
        Row(
            "patches/project/kernel",
            ("blocks.input.patch_proj",),
            (C, 3, of.patch, of.patch),
            PATCH,
        ),
        Row("position", ("blocks.input.w_pos",), (positions, C), SAME),
        *_gains("norm_in", "blocks.input.ln", C),
    ]
    return [*table, *_blocks(of.vision_layers, C, of.dim)]


def noised_text_encoder(of: Any) -> Table:
    """Rows of its text encoder."""
    C = of.text_channels
    table = [
        Row("token/embedding", ("blocks.input.w_voc",), (of.vocab_size, C), SAME),
        Row("position", ("blocks.input.w_pos",), (of.length, C), SAME),
    ]
    return [*table, *_blocks(of.text_layers, C, of.dim)]


def _blocks(layers: int, C: int, dim: int) -> Table:
    """Rows of transformer blocks and of the projection after them."""
    table: Table = []
    for n in range(layers):
        own: Table = _gains("norm1", "f_attn.ln", C)
        for name in "qkv":
            own += _affine(name, f"f_attn.f_{name}", C, C, bias=name != "k")
        own += _affine("out", "f_attn.f_c", C, C)
        own += _gains("norm2", "f_mlp.ln", C)
        own += _affine("ff_in", "f_mlp.f_1", C, 4 * C)
        own += _affine("ff_out", "f_mlp.f_2", 4 * C, C)
        table += under(own, f"block_{n}/", f"blocks.block_{n}.")
    table += _gains("norm", "blocks.output.ln", C)
    return table + _affine("project", "blocks.output.f", C, dim, bias=False)


def _gains(here: str, there: str, channels: int) -> Table:
    """A norm of the noised CLIP."""
    return [
        Row(f"{here}/scale", (f"{there}.g",), (channels,), SAME),
        Row(f"{here}/bias", (f"{there}.b",), (channels,), SAME),
    ]


def _affine(here: str, there: str, i: int, o: int, bias: bool = True) -> Table:
    """A linear layer of it."""
    kernel = Row(f"{here}/kernel", (f"{there}.w",), (o, i), DENSE)
    return [kernel, Row(f"{here}/bias", (f"{there}.b",), (o,), SAME)] if bias else [kernel]
