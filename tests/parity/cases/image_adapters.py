"""Adapters of images on this side, beside diffusers' stored outputs.

python -m tests.parity.cases.image_adapters     prints how far they are apart
"""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import config as c
from ldm_jax.adapters.adapter import adapted, add
from ldm_jax.adapters.image_encoder import ImageEncoder
from ldm_jax.adapters.ip_adapter import IPAdapter, ip_adapter
from ldm_jax.adapters.t2i_adapter import T2IAdapter
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.encoders.clip.vision import CLIPImageEncoder
from ldm_jax.sampling.generate import Extras, make_generate
from ldm_jax.types import Adapter, Cond
from ldm_jax.weights import table
from ldm_jax.weights.names import clip as clip_names
from ldm_jax.weights.names import diffusers_model
from ldm_jax.weights.names import unet as unet_names
from tests.parity import compare
from tests.parity.cases import image_adapter_cases as cases
from tests.parity.cases import pipeline_cases, pipelines
from tests.parity.cases.networks import channels_first, channels_last
from tests.parity.folders import ARRAYS

VISION = ImageEncoder(**diffusers_model.read_vision(cases.VISION))
IP = {
    "linear": IPAdapter(encoder=VISION),
    "resampler": IPAdapter("resampler", encoder=VISION, **cases.PLUS),
    "full": IPAdapter("full", encoder=VISION),
}
FACTOR = pipeline_cases.FACTOR  # pixels per latent


def network(settings: dict) -> c.UNet:
    return c.UNet(**diffusers_model.read_unet(settings)[0])


def drawn(component: str, rows: table.Table) -> dict:
    """The params of these rows, drawn."""
    return table.to_here(rows, pipeline_cases.weights(component, table.shapes(rows)))


@functools.cache
def denoiser(config: c.UNet) -> dict:
    rows = unet_names.unet(config, 4, 4, cases.CONTEXT)
    return drawn("unet", diffusers_model.unet_names(rows, len(config.channel_mults)))


@functools.partial(jax.jit, static_argnums=0)
def predicted(config: c.UNet, params: dict, signal: Cond, scale: float) -> jax.Array:
    """The UNet's output with what an adapter adds."""
    t = jnp.asarray(cases.T)
    cond = add(Cond(tokens=jnp.asarray(cases.TEXT)), signal, scale, t)
    apply = config.build(4, 4).apply
    return channels_first(apply(params, channels_last(cases.X), t, cond))


def t2i_config(name: str) -> T2IAdapter:
    settings = cases.T2I[name][1]
    return T2IAdapter(
        size="light" if name == "light" else "full",
        blocks=settings["num_res_blocks"],
        hint_channels=settings.get("in_channels", 3),
        places="sdxl" if name == "xl" else "sd",
        layout="diffusers",
    )


def t2i(name: str) -> tuple[Adapter, dict]:
    """An adapter and its params."""
    config, sites = t2i_config(name), network(cases.T2I[name][0]).build(4, 4).sites
    return config.network(sites, FACTOR), drawn(f"t2i {name}", config.table(sites, FACTOR))


def ip_table(projection: str) -> table.Table:
    return IP[projection].table(network(pipeline_cases.UNET).build(4, 4).sites, cases.CONTEXT)


def ip_state(projection: str) -> dict[str, np.ndarray]:
    """An IP-Adapter's weights by their published names."""
    return pipeline_cases.weights(projection, table.shapes(ip_table(projection)))


def ip(config: IPAdapter) -> tuple[Adapter, dict]:
    """An adapter and its params."""
    sites = network(pipeline_cases.UNET).build(4, 4).sites
    rows = ip_table(config.projection)
    return ip_adapter(config, sites, cases.CONTEXT), drawn(config.projection, rows)


def of_t2i(name: str) -> dict[str, np.ndarray]:
    """The features of the hint, and the UNet with them."""
    (adapter, own), config = t2i(name), network(cases.T2I[name][0])
    hint = {"hint": channels_last(jnp.asarray(cases.HINT[name]))}
    features = jax.jit(adapter.encode)(own, hint)
    levels = t2i_config(name).levels(config.build(4, 4).sites)
    found = {
        f"t2i {name} feature{i}": channels_first(features[level.site])
        for i, level in enumerate(levels)
    }
    for scale in (1.0, cases.SCALE):
        y = predicted(config, denoiser(config), Cond(added=features), scale)
        found[f"t2i {name} {scale}"] = y
    return found


def of_ip(name: str) -> dict[str, np.ndarray]:
    """The UNet with the keys and values of image prompts."""
    projection, images, scale = cases.IP[name]
    adapter, own = ip(replace(IP[projection], images=images))
    config = network(pipeline_cases.UNET)
    prompts = {"image_prompt": jnp.asarray(cases.prompts(projection, images))}
    hint = jax.jit(adapter.encode)(own, prompts)
    signal = adapter.signal(own, hint, None, None, Cond())
    return {f"ip {name}": predicted(config, denoiser(config), signal, scale)}


def of_encoder() -> dict[str, np.ndarray]:
    """What adapters read of images."""
    rows = clip_names.image_encoder(VISION.architecture)
    params, photos = drawn("image_encoder", rows), channels_last(cases.PHOTOS)
    encoder = CLIPImageEncoder(VISION.architecture, VISION.weights)
    apply = jax.jit(encoder.apply, static_argnums=2)
    names = {"embeddings": False, "hidden states": True}
    return {name: apply({"params": params}, photos, hidden) for name, hidden in names.items()}


def of_pipeline() -> dict[str, np.ndarray]:
    """The latents at the end, with a prompt of hidden states; see `adapter_pipelines.py` of others,
    whose unconditional prompt needs no image encoder."""
    adapter, own = ip(IP["resampler"])
    one, none = cases.prompts("resampler", 1)[:1], cases.unconditional()
    adapter = adapter._replace(
        null=lambda n, h, w: {"image_prompt": jnp.repeat(jnp.asarray(none), n, axis=0)}
    )
    model = adapted(pipelines.model_of("text"), {"a": adapter}, {"a": cases.SCALE})
    params = {**pipelines.params("text"), "adapters": {"a": own}}
    asked = c.Sampling(sampler="ddim", steps=pipeline_cases.STEPS, spacing="uniform")
    times = sampling.times(asked, model.process)
    generate = make_generate(model, build_sampler("ddim"), cases.SIDE * FACTOR)
    inputs = {"tokens": jnp.asarray(pipeline_cases.IDS)}
    inputs |= {"image_prompt": jnp.asarray(np.repeat(one, cases.B, axis=0))}
    extras = Extras(negative={"tokens": jnp.asarray(pipeline_cases.EMPTY)})
    seeds, noise = np.arange(cases.B, dtype=np.uint32), channels_last(pipeline_cases.NOISE)
    arguments = sampling.arguments(asked)
    guidance = pipeline_cases.GUIDANCE
    found = generate(params, inputs, seeds, times, guidance, arguments, noise, extras)
    return {"pipeline": np.asarray(channels_first(found)) * pipelines.LARGEST}


CASES = {
    **{f"t2i {name}": functools.partial(of_t2i, name) for name in cases.T2I},
    **{f"ip {name}": functools.partial(of_ip, name) for name in cases.IP},
    "encoder": of_encoder,
    "pipeline": of_pipeline,
}


def pairs(case: str) -> compare.Pairs:
    """Ours and the reference, by the name of the array."""
    with jax.default_matmul_precision("highest"):
        found = CASES[case]()
    with np.load(ARRAYS / "image_adapters.npz") as reference:
        return {name: (np.asarray(x), reference[name]) for name, x in found.items()}


if __name__ == "__main__":
    for each in CASES:
        print(compare.table(each, pairs(each)))
