"""Full-size T2I-Adapters against stored outputs of the original code.

    python -m tests.parity.full_size_image_adapters --golden GOLDEN [--name t2iadapter-sd15 ...]

Weights are drawn from the names in the tables here, which `tests/weights` compares with those of
the published files. The UNet is Stable Diffusion 1's. Takes about 8 GB.
"""

import argparse
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.adapters.adapter import add
from ldm_jax.adapters.t2i_adapter import T2IAdapter
from ldm_jax.types import Cond
from ldm_jax.weights.names import unet as unet_names
from tests.parity import compare
from tests.parity.cases.networks import channels_first, channels_last
from tests.parity.full_size_controlnet import LATENT, TOKEN, UNET, params_of

FACTOR = 8  # pixels per latent
Arrays = dict[str, np.ndarray]


@functools.cache
def denoiser() -> dict:
    """The weights of the UNet."""
    return params_of(unet_names.unet(UNET, LATENT, LATENT, TOKEN), "model.diffusion_model.")


@jax.jit
def _apply(params, x, t, cond):
    return channels_first(UNET.build(LATENT, LATENT).apply(params, channels_last(x), t, cond))


def predict(arrays: Arrays, tokens: np.ndarray, *signals: tuple[Cond, float]):
    """The UNet's output for the file's x and t, with what adapters add, times a scale."""
    cond, t = Cond(tokens=jnp.asarray(tokens)), jnp.asarray(arrays["t"])
    for signal, scale in signals:
        cond = add(cond, signal, scale, t)
    return _apply(denoiser(), arrays["x"], t, cond)


def t2i_features(channels: int, hint: np.ndarray) -> dict:
    """The features of a hint [1, channels, H, W], by site."""
    sites = UNET.build(LATENT, LATENT).sites
    config = T2IAdapter(hint_channels=channels)
    own = params_of(config.table(sites, FACTOR), "")
    encode = jax.jit(config.network(sites, FACTOR).encode)
    return encode(own, {"hint": channels_last(jnp.asarray(hint))})


def t2i(arrays: Arrays, channels: int) -> Arrays:
    """What the file of a T2I-Adapter has, by the names in it."""
    features, found = t2i_features(channels, arrays["hint"]), {}
    for i in range(len(features)):
        name, axes, x = f"feature{i:02}", (1, 2), features[f"down_{i}"]
        found[name] = channels_first(x)[:, ::8]
        found |= {f"{name}_mean": jnp.mean(x, axes), f"{name}_std": jnp.std(x, axes)}
    signals = {"y_plain": [], "y": [(features, 1.0)], "y_half": [(features, 0.5)]}
    if "y_both" in arrays:
        color = t2i_features(3, arrays["hint_color"])
        signals["y_both"] = [(color, 1.0), (features, 0.5)]
    for name, each in signals.items():
        if name in arrays:
            added = [(Cond(added=x), scale) for x, scale in each]
            found[name] = predict(arrays, arrays["context"], *added)
    return found


CASES = {
    "t2iadapter-sd15": functools.partial(t2i, channels=3),
    "t2iadapter-sd15-sketch": functools.partial(t2i, channels=1),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--name", nargs="*", default=list(CASES), choices=CASES)
    options = parser.parse_args()
    for case in options.name:
        with np.load(options.golden / f"{case}.npz") as file:
            stored = dict(file)
        ours = {name: np.asarray(x) for name, x in CASES[case](stored).items()}
        print(compare.table(case, {n: (x, stored[n]) for n, x in ours.items()}), flush=True)
