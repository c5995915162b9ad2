"""A full-size ControlNet against stored outputs of the original code.

    python -m tests.parity.full_size_controlnet --golden GOLDEN [--name controlnet-sd15]

Weights are drawn from the names in the tables here, which `tests/weights/controlnet_names_test.py`
compares with those of the published file. The UNet is Stable Diffusion 1's. Takes about 8 GB.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import config as c
from ldm_jax.adapters.adapter import add
from ldm_jax.adapters.controlnet import GUESS, ControlNet, controlnet, guessed, only_middle, outputs
from ldm_jax.types import Cond
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import controlnet as names
from ldm_jax.weights.names import unet as unet_names
from tests.parity import compare
from tests.parity.cases import drawn
from tests.parity.cases.networks import channels_first, channels_last

UNET = c.UNet(channels=320, channel_mults=(1, 2, 4, 4), num_heads=8)  # Stable Diffusion 1's
LATENT, TOKEN = 4, 768


def params_of(table: tables.Table, prefix: str) -> dict:
    """Weights that are drawn from their names."""
    rows = tables.under(table, there=prefix)
    return tables.rearranged(rows, drawn.state(tables.shapes(rows)))


def computed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the file has of the UNet and the ControlNet, by the names in it."""
    base = UNET.build(LATENT, LATENT)
    denoiser = params_of(unet_names.unet(UNET, LATENT, LATENT, TOKEN), "model.diffusion_model.")
    x, t = channels_last(jnp.asarray(arrays["x"])), jnp.asarray(arrays["t"])
    hint = channels_last(jnp.asarray(arrays["hint"]))
    cond = Cond(tokens=jnp.asarray(arrays["context"]))
    sites = outputs(UNET)
    table = names.original(ControlNet(), UNET, sites, LATENT, TOKEN)
    own = params_of(table, names.PREFIX)

    @jax.jit
    def signal(own, image):
        adapter = controlnet(ControlNet(), UNET)
        return adapter.signal(own, adapter.encode(own, {"hint": image}), x, t, cond)

    plain, other = signal(own, hint), signal(own, 1 - hint)
    predict = jax.jit(lambda params, cond: channels_first(base.apply(params, x, t, cond)))
    found = {}
    for i, site in enumerate(sites):
        name, axes, y = f"control{i:02}", (1, 2), plain.added[site]
        found[name] = channels_first(y)[:, ::8]
        found |= {f"{name}_mean": jnp.mean(y, axes), f"{name}_std": jnp.std(y, axes)}
    mean = {site: jnp.mean(y, (1, 2), keepdims=True) for site, y in plain.added.items()}
    pooled = Cond(added={n: jnp.broadcast_to(mean[n], y.shape) for n, y in plain.added.items()})
    at = {
        "y": [(plain, 1.0)],
        "y_half": [(plain, 0.5)],
        "y_only_mid": [(plain, only_middle())],
        "y_guess": [(plain, guessed(UNET))],
        "y_two": [(plain, 1.0), (other, 0.5)],
        "y_pooled": [(pooled, 1.0)],
    }
    found["y_plain"] = predict(denoiser, cond)
    for name, signals in at.items():
        whole = cond
        for one, scale in signals:
            whole = add(whole, one, scale, t)
        found[name] = predict(denoiser, whole)
    return {name: np.asarray(y) for name, y in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--name", default="controlnet-sd15")
    options = parser.parse_args()
    assert GUESS == 0.825
    with np.load(options.golden / f"{options.name}.npz") as file:
        arrays = dict(file)
    ours = computed(arrays)
    print(compare.table(options.name, {n: (y, arrays[n]) for n, y in ours.items()}))
