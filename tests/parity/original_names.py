"""The names that the original latent-diffusion code gives its weights, and the names here.

A network is a table with a row for each parameter here: its path, the original's key (three for
q, k and v where they are fused here), their shape there, and how one layout becomes the other. The
tables are written from the config alone, so every key of a state dict is accounted for both ways
before a single weight is moved: `complaints` names those missing, unexpected or misshapen.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ldm_jax import config as c
from ldm_jax.errors import InputError

Shape = tuple[int, ...]
State = Mapping[str, np.ndarray]  # the original's key -> weight


class Layout(NamedTuple):
    """How one weight is laid out on either side."""

    to_here: Callable[[np.ndarray], np.ndarray]
    to_original: Callable[[np.ndarray, Shape], np.ndarray]  # (weight here, shape there)


SAME = Layout(lambda w: w, lambda w, shape: w)
CONV = Layout(  # OIHW and HWIO
    lambda w: np.transpose(w, (2, 3, 1, 0)), lambda w, shape: np.transpose(w, (3, 2, 0, 1))
)
DENSE = Layout(  # [O, I], or [O, I, 1 ...] where the original wrote a 1x1 convolution; [I, O] here
    lambda w: np.reshape(w, w.shape[:2]).T, lambda w, shape: np.reshape(w.T, shape)
)


class Row(NamedTuple):
    """One parameter here; several keys there are laid side by side along its last axis."""

    path: str  # slashes between the levels of the tree
    keys: tuple[str, ...]
    shape: Shape  # of the weight behind each key, there
    layout: Layout


Table = list[Row]


# Layers


def norm(here: str, there: str, channels: int) -> Table:
    """A group norm or a layer norm."""
    return [
        Row(f"{here}/scale", (f"{there}.weight",), (channels,), SAME),
        Row(f"{here}/bias", (f"{there}.bias",), (channels,), SAME),
    ]


def conv(here: str, there: str, i: int, o: int) -> Table:
    """A 3x3 convolution from i to o channels."""
    return [
        Row(f"{here}/kernel", (f"{there}.weight",), (o, i, 3, 3), CONV),
        Row(f"{here}/bias", (f"{there}.bias",), (o,), SAME),
    ]


def dense(here: str, there: str | tuple[str, ...], i: int, o: int, ones=0, bias=True) -> Table:
    """A linear layer from i to o channels, or a 1x1 convolution with `ones` dimensions."""
    there = (there,) if isinstance(there, str) else there
    weights = tuple(f"{name}.weight" for name in there)
    biases = tuple(f"{name}.bias" for name in there)
    kernel = Row(f"{here}/kernel", weights, (o, i) + (1,) * ones, DENSE)
    return [kernel, Row(f"{here}/bias", biases, (o,), SAME)] if bias else [kernel]


def embedding(here: str, there: str, entries: int, dim: int) -> Table:
    """A table of vectors."""
    return [Row(here, (f"{there}.weight",), (entries, dim), SAME)]


def under(table: Table, here: str = "", there: str = "") -> Table:
    """The table with prefixes on either side."""
    return [
        row._replace(path=here + row.path, keys=tuple(there + k for k in row.keys)) for row in table
    ]


# The KL autoencoder


def _autoencoder_res(here: str, there: str, i: int, o: int) -> Table:
    skip = dense(f"{here}/skip", f"{there}.nin_shortcut", i, o, ones=2) if i != o else []
    return [
        *norm(f"{here}/norm1", f"{there}.norm1", i),
        *conv(f"{here}/conv1", f"{there}.conv1", i, o),
        *norm(f"{here}/norm2", f"{there}.norm2", o),
        *conv(f"{here}/conv2", f"{there}.conv2", o, o),
        *skip,
    ]


def _autoencoder_attention(here: str, there: str, channels: int) -> Table:
    # one head, so head-major order is q, k, v side by side
    qkv = tuple(f"{there}.{name}" for name in "qkv")
    return [
        *norm(f"{here}/norm", f"{there}.norm", channels),
        *dense(f"{here}/qkv", qkv, channels, channels, ones=2),
        *dense(f"{here}/out", f"{there}.proj_out", channels, channels, ones=2),
    ]


def _autoencoder_middle(config: c.KLAutoencoder, channels: int) -> Table:
    attention = _autoencoder_attention("mid_attn", "mid.attn_1", channels)
    return [
        *_autoencoder_res("mid_res_0", "mid.block_1", channels, channels),
        *(attention if config.mid_attention else []),
        *_autoencoder_res("mid_res_1", "mid.block_2", channels, channels),
    ]


def _autoencoder_level(config, way: str, level: int, blocks: int, i: int, o: int) -> Table:
    """The residual blocks and attentions of one level, `way` being down or up."""
    table = []
    for n in range(blocks):
        here, there = f"{way}_{level}", f"{way}.{level}"
        table += _autoencoder_res(f"{here}_res_{n}", f"{there}.block.{n}", o if n else i, o)
        if 2**level in config.attention_factors:
            table += _autoencoder_attention(f"{here}_attn_{n}", f"{there}.attn.{n}", o)
    return table


def _encoder(config: c.KLAutoencoder) -> Table:
    channels = config.channels
    table = conv("conv_in", "conv_in", 3, channels)
    last = len(config.channel_mults) - 1
    for level, mult in enumerate(config.channel_mults):
        o = mult * config.channels
        table += _autoencoder_level(config, "down", level, config.num_res_blocks, channels, o)
        if level < last:
            table += conv(f"down_{level}_downsample/conv", f"down.{level}.downsample.conv", o, o)
        channels = o
    table += _autoencoder_middle(config, channels)
    table += norm("norm_out", "norm_out", channels)
    return table + conv("conv_out", "conv_out", channels, 2 * config.z_channels)


def _decoder(config: c.KLAutoencoder) -> Table:
    channels = config.channels * config.channel_mults[-1]
    table = conv("conv_in", "conv_in", config.z_channels, channels)
    table += _autoencoder_middle(config, channels)
    for level, mult in reversed(list(enumerate(config.channel_mults))):
        o = mult * config.channels
        table += _autoencoder_level(config, "up", level, config.num_res_blocks + 1, channels, o)
        if level > 0:
            table += conv(f"up_{level}_upsample/conv", f"up.{level}.upsample.conv", o, o)
        channels = o
    table += norm("norm_out", "norm_out", channels)
    return table + conv("conv_out", "conv_out", channels, 3)


def kl_autoencoder(config: c.KLAutoencoder) -> Table:
    """Rows of the first stage that `config` describes (its "scale" belongs to no weight there)."""
    z = config.z_channels
    return [
        *under(_encoder(config), "encoder/", "encoder."),
        *dense("encoder/quant_conv", "quant_conv", 2 * z, 2 * z, ones=2),
        *under(_decoder(config), "decoder/", "decoder."),
        *dense("decoder/post_quant_conv", "post_quant_conv", z, z, ones=2),
    ]


# The UNet


def _unet_res(here: str, there: str, i: int, o: int, time: int) -> Table:
    skip = dense(f"{here}/skip", f"{there}.skip_connection", i, o, ones=2) if i != o else []
    return [
        *norm(f"{here}/norm1", f"{there}.in_layers.0", i),
        *conv(f"{here}/conv1", f"{there}.in_layers.2", i, o),
        *dense(f"{here}/embedding", f"{there}.emb_layers.1", time, o),
        *norm(f"{here}/norm2", f"{there}.out_layers.0", o),
        *conv(f"{here}/conv2", f"{there}.out_layers.3", o, o),
        *skip,
    ]


def _attention_block(here: str, there: str, channels: int) -> Table:
    return [
        *norm(f"{here}/norm", f"{there}.norm", channels),
        *dense(f"{here}/qkv", f"{there}.qkv", channels, 3 * channels, ones=1),
        *dense(f"{here}/out", f"{there}.proj_out", channels, channels, ones=1),
    ]


def _cross_attention(here: str, there: str, channels: int, context: int) -> Table:
    return [
        *dense(f"{here}/q", f"{there}.to_q", channels, channels, bias=False),
        *dense(f"{here}/k", f"{there}.to_k", context, channels, bias=False),
        *dense(f"{here}/v", f"{there}.to_v", context, channels, bias=False),
        *dense(f"{here}/out", f"{there}.to_out.0", channels, channels),
    ]


def _transformer_block(here: str, there: str, channels: int, context: int) -> Table:
    return [
        *norm(f"{here}/norm1", f"{there}.norm1", channels),
        *_cross_attention(f"{here}/self", f"{there}.attn1", channels, channels),
        *norm(f"{here}/norm2", f"{there}.norm2", channels),
        *_cross_attention(f"{here}/cross", f"{there}.attn2", channels, context),
        *norm(f"{here}/norm3", f"{there}.norm3", channels),
        *dense(f"{here}/ff/in", f"{there}.ff.net.0.proj", channels, 8 * channels),
        *dense(f"{here}/ff/out", f"{there}.ff.net.2", 4 * channels, channels),
    ]


def _spatial_transformer(here: str, there: str, channels: int, context: int, depth: int) -> Table:
    table = norm(f"{here}/norm", f"{there}.norm", channels)
    table += dense(f"{here}/in", f"{there}.proj_in", channels, channels, ones=2)
    for n in range(depth):
        block = f"{there}.transformer_blocks.{n}"
        table += _transformer_block(f"{here}/block_{n}", block, channels, context)
    return table + dense(f"{here}/out", f"{there}.proj_out", channels, channels, ones=2)


def unet(config: c.UNet, in_channels: int, out_channels: int, context: int | None) -> Table:
    """Rows of the denoiser that `config` describes.

    Args:
        context: width of the tokens it attends to; None: plain self-attention.
    """
    time = 4 * config.channels

    def attend(here, there, channels):
        if context is None:
            return _attention_block(here, there, channels)
        return _spatial_transformer(here, there, channels, context, config.transformer_depth)

    table = dense("time_1", "time_embed.0", config.channels, time)
    table += dense("time_2", "time_embed.2", time, time)
    table += conv("conv_in", "input_blocks.0.0", in_channels, config.channels)

    # the original numbers blocks through all the levels; a downsampling has a number of its own
    channels, skips = config.channels, [config.channels]
    last = len(config.channel_mults) - 1
    for level, mult in enumerate(config.channel_mults):
        o = mult * config.channels
        for n in range(config.num_res_blocks):
            here, there = f"down_{level}", f"input_blocks.{len(skips)}"
            table += _unet_res(f"{here}_res_{n}", f"{there}.0", channels, o, time)
            if 2**level in config.attention_factors:
                table += attend(f"{here}_attn_{n}", f"{there}.1", o)
            channels = o
            skips.append(channels)
        if level < last:
            there = f"input_blocks.{len(skips)}.0.op"
            table += conv(f"down_{level}_downsample/conv", there, channels, channels)
            skips.append(channels)

    table += _unet_res("mid_res_0", "middle_block.0", channels, channels, time)
    table += attend("mid_attn", "middle_block.1", channels)
    table += _unet_res("mid_res_1", "middle_block.2", channels, channels, time)

    # an upsampling is the last member of the block before it
    number = 0
    for level, mult in reversed(list(enumerate(config.channel_mults))):
        o = mult * config.channels
        attends = 2**level in config.attention_factors
        for n in range(config.num_res_blocks + 1):
            here, there = f"up_{level}", f"output_blocks.{number}"
            table += _unet_res(f"{here}_res_{n}", f"{there}.0", channels + skips.pop(), o, time)
            if attends:
                table += attend(f"{here}_attn_{n}", f"{there}.1", o)
            channels = o
            number += 1
        if level > 0:
            there = f"output_blocks.{number - 1}.{2 if attends else 1}.conv"
            table += conv(f"up_{level}_upsample/conv", there, channels, channels)

    table += norm("norm_out", "out.0", channels)
    return table + conv("conv_out", "out.2", channels, out_channels)


# Conditioners

# The head that would predict tokens from vectors; latent diffusion never calls it.
TEXT_UNUSED = ("transformer.to_logits.weight", "transformer.to_logits.bias")


def text_transformer(config: c.Text) -> Table:
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


# Moving weights


def nested(flat: Mapping[str, np.ndarray]) -> dict:
    """A tree from paths with slashes."""
    tree: dict = {}
    for path, leaf in flat.items():
        *branch, name = path.split("/")
        node = tree
        for part in branch:
            node = node.setdefault(part, {})
        node[name] = leaf
    return tree


def flattened(tree: Mapping, prefix: str = "") -> dict[str, np.ndarray]:
    """The paths of a tree, with slashes."""
    flat = {}
    for name, node in tree.items():
        if isinstance(node, Mapping):
            flat |= flattened(node, f"{prefix}{name}/")
        else:
            flat[prefix + name] = node
    return flat


def shapes(table: Table) -> dict[str, Shape]:
    """The original's key -> shape."""
    return {key: row.shape for row in table for key in row.keys}


def complaints(table: Table, found: Mapping[str, Shape], unused: tuple[str, ...] = ()) -> list[str]:
    """What keeps a state dict with these shapes from being this network, a line a key.

    Args:
        unused: keys that the original holds and this network has no use for.
    """
    wanted = shapes(table)

    def lines() -> Iterator[str]:
        for key in sorted(wanted.keys() - found.keys()):
            yield f"{key} is missing: expected shape {wanted[key]}"
        for key in sorted(found.keys() - wanted.keys() - set(unused)):
            yield f"{key} {tuple(found[key])} is unexpected: no parameter takes it"
        for key in sorted(wanted.keys() & found.keys()):
            if tuple(found[key]) != wanted[key]:
                yield f"{key} has shape {tuple(found[key])}: expected {wanted[key]}"

    return list(lines())


def to_here(table: Table, state: State, unused: tuple[str, ...] = ()) -> dict:
    """The parameters that a state dict of the original stands for, as a nested dict.

    Raises:
        InputError: a key is missing, unexpected or misshapen; the message names all of them.
    """
    wrong = complaints(table, {key: np.shape(w) for key, w in state.items()}, unused)
    if wrong:
        raise InputError("these weights are not of this network:\n" + "\n".join(wrong))
    flat = {}
    for row in table:
        parts = [row.layout.to_here(np.asarray(state[key])) for key in row.keys]
        flat[row.path] = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    return nested(flat)


def to_original(table: Table, params: Mapping) -> dict[str, np.ndarray]:
    """The state dict of the original that these parameters stand for: the way back."""
    state, flat = {}, flattened(params)
    for row in table:
        parts = np.split(np.asarray(flat[row.path]), len(row.keys), axis=-1)
        state |= {
            key: row.layout.to_original(part, row.shape)
            for key, part in zip(row.keys, parts, strict=True)
        }
    return state
