"""Full-size networks of cascades in pixel space against stored outputs of the original code.

    python -m tests.parity.full_size_cascades --golden GOLDEN --keys KEYS [NAME ...]

GLIDE's base model, upsampler and noised CLIP, Karlo's prior, decoder and text projection, the
encoder of a T5. Weights are drawn from the keys of KEYS, which have to be those of our tables.
Takes about 6 GB.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.backbones.prior import PriorTransformer
from ldm_jax.backbones.unclip_decoder import Projection, UnCLIPDecoder
from ldm_jax.backbones.unet import UNet
from ldm_jax.conditioning import GLIDEText, T5Text
from ldm_jax.conditioning.low_resolution import enlarged
from ldm_jax.diffusion.guidance.classifier import similarity
from ldm_jax.encoders.clip import noised
from ldm_jax.encoders.glide import PaddedTransformer
from ldm_jax.encoders.t5 import T5, t5_encoder
from ldm_jax.runs.config_file import load_config
from ldm_jax.types import Cond
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import glide as names
from ldm_jax.weights.names import karlo as karlo_names
from ldm_jax.weights.names import t5 as t5_names
from ldm_jax.weights.names import unet as unet_names
from tests.parity import compare
from tests.parity.cases import drawn
from tests.parity.cases.networks import channels_first, channels_last

Arrays = Mapping[str, np.ndarray]
CONFIGS = Path(__file__).parents[2] / "configs" / "glide"


def check_keys(table: tables.Table, keys: Mapping[str, tuple[int, ...]]) -> None:
    """The names and shapes of a table have to be all of `keys`."""
    wrong = tables.mismatches(table, {key: tuple(shape) for key, shape in keys.items()})
    assert not wrong, wrong


def params_of(table: tables.Table, keys: Mapping[str, tuple[int, ...]], prefix: str = "") -> dict:
    """Weights drawn from their names, which have to be all of `keys`."""
    check_keys(table, keys)
    return tables.rearranged(table, drawn.state(tables.shapes(table), prefix))


def model(unet: UNet, text: GLIDEText, keys: Mapping, prefix: str = "") -> tuple[dict, dict]:
    """The weights of the UNet and of the text transformer."""
    inputs = keys["input_blocks.0.0.weight"][1]
    table = tables.under(unet_names.unet(unet, inputs, 6, text.dim), "denoiser/")
    table += tables.under(names.text_transformer(text), "conditioner/")
    params = params_of(table, keys, prefix)
    return params["denoiser"], params["conditioner"]


def diffusion(arrays: Arrays, keys: Mapping) -> dict[str, np.ndarray]:
    """What a file has of GLIDE's base model or upsampler."""
    text, has_image = GLIDEText(), "low_res" in arrays
    unet = load_config(CONFIGS / f"{'upsample' if has_image else 'text2im'}.py").model
    denoiser, conditioner = model(unet, text, keys)
    encoder = PaddedTransformer(text, text.vocab_size)
    x = channels_last(jnp.asarray(arrays["x"]))

    @jax.jit
    def encode(params):
        return encoder.apply({"params": params}, arrays["ids"], arrays["mask"])

    tokens, vector = encode(conditioner)
    concat = None
    if has_image:
        concat = enlarged(channels_last(jnp.asarray(arrays["low_res"])), 4)
    cond = Cond(tokens=tokens, vector=vector, concat=concat)
    backbone = unet.build(3, 6)
    y = jax.jit(lambda params: backbone.apply(params, x, jnp.asarray(arrays["t"]), cond))(denoiser)
    return {
        "tokens": tokens[:, :: 8 if has_image else 2],
        "text_vector": vector,
        "y": channels_first(y),
    }


def clip(arrays: Arrays, image_keys: Mapping, text_keys: Mapping) -> dict[str, np.ndarray]:
    """What a file has of the noised CLIP."""
    of = noised.NoisedCLIPModel()
    params = {
        "vision": params_of(names.noised_image_encoder(of), image_keys),
        "text": params_of(names.noised_text_encoder(of), text_keys),
    }
    x, t = channels_last(jnp.asarray(arrays["x"])), jnp.asarray(arrays["t"])

    @jax.jit
    def compute(params):
        text = noised.embed_captions(of, params, jnp.asarray(arrays["ids"]))
        image = noised.embed_images(of, params, x, t)
        alike = similarity(lambda z, t: noised.embed_images(of, params, z, t), text, of.logit_scale)
        gradient = jax.grad(lambda z: jnp.sum(alike(z, t)))(x)
        return text, image, 3.0 * gradient

    text, image, gradient = compute(params)
    return {"text_embedding": text, "image_embedding": image, "grad": channels_first(gradient)}


def prior(arrays: Arrays, keys: Mapping, original: Mapping) -> dict[str, np.ndarray]:
    """What a file has of Karlo's prior."""
    of, d = PriorTransformer(), arrays["x"].shape[1]
    table = [*karlo_names.prior(of, d, d, "diffusers"), *karlo_names.statistics(d)]
    theirs = karlo_names.prior(of, d, d, "original")
    check_keys(tables.under(theirs, there=karlo_names.PREFIXES["prior"]), original)
    params = params_of(table, keys)
    states, vector = arrays["text_states"], arrays["text_embedding"]
    cond = Cond(tokens=states, vector=vector, mask=arrays["mask"])
    backbone, x = of.build(d, d), jnp.asarray(arrays["x"])[:, None, None]
    t = jnp.asarray(arrays["t"])[None]
    y = jax.jit(lambda params: backbone.apply(params, x, t, cond))(params)[:, 0, 0]
    return {"y": y, "post_processed": y * params["std"] + params["mean"]}


def decoder(
    arrays: Arrays, keys: Mapping, project_keys: Mapping, original: Mapping
) -> dict[str, np.ndarray]:
    """What a file has of Karlo's decoder and of its projection of CLIP's embeddings."""
    of, d = UnCLIPDecoder(), arrays["image_embedding"].shape[1]
    theirs = karlo_names.projection(of, d, "original") + karlo_names.unet(of, 3, 6, "original")
    check_keys(tables.under(theirs, there=karlo_names.PREFIXES["decoder"]), original)
    params = params_of(karlo_names.unet(of, 3, 6, "diffusers"), keys)
    params |= params_of(karlo_names.projection(of, d, "diffusers"), project_keys)
    image = np.concatenate([np.zeros((1, d), np.float32), arrays["image_embedding"]])
    vector = jnp.concatenate([arrays["text_embedding"], image], axis=1)
    cond = Cond(tokens=arrays["text_states"], vector=vector, mask=arrays["mask"])
    x, t = channels_last(jnp.asarray(arrays["x"])), jnp.asarray(arrays["t"])[None]
    projected = Projection(of).apply({"params": params["project"]}, cond)
    backbone = of.build(3, 6)
    y = jax.jit(lambda params: backbone.apply(params, x, t, cond))(params)
    return {
        "hidden": projected.tokens[:, :12, ::3],
        "vector": projected.vector,
        "y": channels_first(y),
    }


def t5(arrays: Arrays, keys: Mapping) -> dict[str, np.ndarray]:
    """What a file has of the encoder of a T5, whose queries are drawn smaller."""
    of = T5Text(dim=512, layers=8, num_heads=6, ff_dim=1024, attend_padding=True)
    table = t5_names.t5(of)
    check_keys(table, {key: shape for key, shape in keys.items() if key != t5_names.COPY})
    state = drawn.state(tables.shapes(table))
    smaller = np.float32(of.head_dim**-0.5)
    state |= {k: w * smaller for k, w in state.items() if k.endswith("SelfAttention.q.weight")}
    encoder = t5_encoder(T5(of), np.zeros(arrays["ids"].shape[1], np.int32), 0, True)
    encode, params = jax.jit(encoder.apply), tables.rearranged(table, state)
    each = {
        name: encode(params, arrays[name].astype(np.int32)).tokens for name in ("ids", "long_ids")
    }
    return {"hidden": each["ids"], "long_hidden": each["long_ids"][:, ::10]}


COMPUTED: dict[str, tuple[Callable, tuple[str, ...]]] = {  # name -> what computes it, key tables
    "glide-base": (diffusion, ("glide-base",)),
    "glide-upsample": (diffusion, ("glide-upsample",)),
    "glide-clip": (clip, ("glide-clip-image", "glide-clip-text")),
    "karlo-prior": (prior, ("karlo-prior", "karlo-prior-original")),
    "karlo-decoder": (decoder, ("karlo-decoder", "karlo-text-proj", "karlo-decoder-original")),
    "t5-v1_1-small": (t5, ("t5-v1_1-small",)),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(COMPUTED))
    options = parser.parse_args()
    for name in options.names:
        compute, needed = COMPUTED[name]
        keys = [json.loads((options.keys / f"{one}.json").read_text()) for one in needed]
        with np.load(options.golden / f"{name}.npz") as file:
            arrays = dict(file)
        with jax.default_matmul_precision("highest"):
            ours = compute(arrays, *keys)
        print(compare.table(name, {n: (np.asarray(y), arrays[n]) for n, y in ours.items()}))
