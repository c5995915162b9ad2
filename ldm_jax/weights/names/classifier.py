"""The original names of a classifier's weights (EncoderUNetModel of guided diffusion, with the
pool by attention; CompVis/latent-diffusion has it, too)."""

from typing import Any

from ldm_jax.weights.names.layers import dense, norm
from ldm_jax.weights.names.unet import half
from ldm_jax.weights.table import DENSE, Row, Table


def classifier(config: Any, in_channels: int, num_classes: int, side: int) -> Table:
    """Rows of the classifier that `config` describes, for latents of `side` positions a side."""
    channels = config.channels * config.channel_mults[-1]
    places = (side // 2 ** (len(config.channel_mults) - 1)) ** 2
    return [
        *half(config, in_channels),
        *norm("norm_out", "out.0", channels),
        Row("pool/positions", ("out.2.positional_embedding",), (channels, places + 1), DENSE),
        *dense("pool/qkv", "out.2.qkv_proj", channels, 3 * channels, ones=1),
        *dense("pool/out", "out.2.c_proj", channels, num_classes, ones=1),
    ]
