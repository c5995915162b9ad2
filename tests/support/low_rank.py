"""A base for low-rank adapters whose parameters have all their published names, and its weights,
drawn from these names; nothing is compiled."""

import functools

import numpy as np

from ldm_jax import config as c
from ldm_jax.adapters.adapter import merged
from ldm_jax.adapters.settings import AdapterSettings, Base
from ldm_jax.weights.names import clip as clip_names
from ldm_jax.weights.names import diffusers_model
from ldm_jax.weights.table import Table, rearranged, shapes, to_original, under
from tests.parity.cases import drawn


def experiment(channels: int = 8, heads: int = 2, dim: int = 8, **more) -> c.Experiment:
    """A small Stable Diffusion: a UNet of two levels, of which the first attends to tokens."""
    text = {"layers": 1, "num_heads": 2} | more
    return c.Experiment(
        first_stage=c.FirstStageExperiment(
            model=c.KLAutoencoder(channels=8, channel_mults=(1, 2), z_channels=4, norm_groups=4)
        ),
        model=c.UNet(
            channels=channels,
            channel_mults=(1, 2),
            num_res_blocks=1,
            attention_factors=(1,),
            num_heads=heads,
            norm_groups=min(channels, 32),
        ),
        conditions=(c.CLIPText(dim=dim, head_dim=dim // text["num_heads"], **text),),
    )


def base(of: c.Experiment) -> Base:
    return Base(of, None, {})


def tables(of: c.Experiment) -> dict[str, Table]:
    """Component -> its rows in the names of diffusers and transformers."""
    own = of.original_names().table
    denoiser = [row for row in own if row.path.startswith("denoiser/")]
    bare = [row._replace(path=row.path.removeprefix("denoiser/")) for row in denoiser]
    text = clip_names.transformers_names(of.conditions[0])
    return {
        "unet": under(diffusers_model.unet_names(bare, 2), "denoiser/"),
        "text_encoder": under(text, "conditioner/"),
    }


@functools.cache
def params(of: c.Experiment) -> dict:
    """The weights of the model, drawn from the names of diffusers and transformers."""
    found: dict = {}
    for table in tables(of).values():
        found |= rearranged(table, drawn.state(shapes(table)))
    return found


def published(of: c.Experiment, params: dict) -> dict[str, np.ndarray]:
    """COMPONENT.NAME -> weight, as files have it."""
    return {
        f"{component}.{key}": np.asarray(x)
        for component, table in tables(of).items()
        for key, x in to_original(table, params).items()
    }


def changed(of: c.Experiment, config: AdapterSettings, own: dict, scale: float = 1.0) -> dict:
    """The params with an adapter."""
    adapter = {"it": config.build(base(of))}
    return merged(adapter, {**params(of), "adapters": {"it": own}}, {"it": scale})
