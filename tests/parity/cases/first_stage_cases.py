"""The original's first stages at full size: what both sides of a comparison are asked.

Knows neither jax nor torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ldm_jax import config as c
from ldm_jax.runs.config_file import load_config
from ldm_jax.weights import table
from ldm_jax.weights.names import autoencoder
from tests.parity.cases import drawn

CONFIGS = Path(__file__).parents[3] / "configs" / "autoencoder"
NAMES = sorted({path.stem for path in CONFIGS.glob("*.py")} - {"base"})


class Keys(NamedTuple):
    """The rows of a network, and its keys and shapes in the original."""

    table: table.Table
    shapes: dict[str, table.Shape]


def model(name: str) -> c.ConvolutionalAutoencoder:
    """The network of a config."""
    return load_config(CONFIGS / f"{name}.py").model


def keys_and_shapes(name: str) -> Keys:
    """The original's keys of a config."""
    config = model(name)
    is_kl = isinstance(config, c.KLAutoencoder)
    rows = (autoencoder.kl_autoencoder if is_kl else autoencoder.vq_autoencoder)(config)
    return Keys(rows, table.shapes(rows))


def image() -> np.ndarray:
    """[1, 3, 64, 64] in (-1, 1)."""
    return np.tanh(drawn.normal("image", (1, 3, 64, 64)))


def cotangents(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What each output is weighted by in the loss whose gradients are compared."""
    names = ("moments", "h", "recon", "codebook loss")
    return {name: drawn.normal(name, outputs[name].shape) for name in names if name in outputs}


def compared(shapes: Mapping[str, table.Shape]) -> list[str]:
    """The weights whose gradients are kept: the ends of the network, and every seventh between.

    Not the keys' biases: attention does not depend on them, so their gradient is rounding alone.
    """
    ends = ("encoder.conv_in.weight", "decoder.conv_out.weight", "quant_conv.weight")
    codes = tuple(key for key in shapes if key.startswith("quantize"))
    between = [key for key in sorted(shapes)[::7] if not key.endswith(".k.bias")]
    return sorted({*ends, *codes, *between})
