"""Full-size T2I-Adapters, a StyleAdapter and IP-Adapters against the original code's outputs.

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

from ldm_jax.adapters import ip_adapter
from ldm_jax.adapters.adapter import add
from ldm_jax.adapters.ip_adapter import IPAdapter
from ldm_jax.adapters.style_adapter import StyleAdapter, style_adapter
from ldm_jax.adapters.t2i_adapter import T2IAdapter
from ldm_jax.types import Cond
from ldm_jax.weights.names import style_adapter as style_names
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


def ip(arrays: Arrays, text: Arrays, config: IPAdapter) -> Arrays:
    """What the file of an IP-Adapter has.

    Args:
        text: the file that has the text's tokens.
    """
    sites = UNET.build(LATENT, LATENT).sites
    own = params_of(config.table(sites, TOKEN), "")
    adapter = ip_adapter.ip_adapter(config, sites, TOKEN)
    encode = jax.jit(lambda own, x: adapter.encode(own, {config.entry: x}))
    tokens = jax.jit(lambda own, x: ip_adapter.image_tokens(config, own["image"], x, TOKEN))
    if config.hidden:
        rng = np.random.default_rng(int(arrays["hidden_seed"][0]))
        image = rng.standard_normal((1, 257, 1280), dtype=np.float32)
        if "hidden_sample" in arrays:
            np.testing.assert_array_equal(image[0, ::64, ::128], arrays["hidden_sample"])
        found = {"tokens": tokens(own, image[:, None])}
    else:
        image, nothing = arrays["image_embeds"], config.nothing()[None]
        found = {"tokens": tokens(own, image[:, None]), "tokens_uncond": tokens(own, nothing)}
    if "tokens_every_16th" in arrays:
        found["tokens_every_16th"] = found.pop("tokens")[:, ::16]
    signals = {"y_plain": [], "y": [(image, 1.0)], "y_half": [(image, 0.5)]}
    if not config.hidden:
        signals["y_uncond"] = [(nothing[:, 0], 1.0)]
    for name, each in signals.items():
        if name in arrays:
            added = []
            for x, scale in each:
                hint = encode(own, jnp.asarray(x)[:, None])
                added.append((adapter.signal(own, hint, None, None, Cond()), scale))
            found[name] = predict(arrays, text["text"], *added)
    return found


def style(arrays: Arrays) -> Arrays:
    """What the file of a StyleAdapter has."""
    config = StyleAdapter()
    own = params_of(style_names.table(style_names.Sizes(8, 1024, 3, TOKEN)), "")
    adapter = style_adapter(config, TOKEN)
    text, hint = jnp.asarray(arrays["context"]), adapter.encode(own, {"style": arrays["clip"]})
    more = adapter.append(own, hint, text, 1.0)
    return {"tokens": more, "y": predict(arrays, jnp.concatenate([text, more], axis=1))}


IP = {
    "ip-adapter-sd15": IPAdapter(),
    "ip-adapter-plus-sd15": IPAdapter("resampler", tokens=16),
    "ip-adapter-full-face-sd15": IPAdapter("full"),
}


def stored(folder: Path, name: str) -> Arrays:
    """The arrays of a file of references."""
    with np.load(folder / f"{name}.npz") as file:
        return dict(file)


T2I = {
    "t2iadapter-sd15": 3,  # channels of hints
    "t2iadapter-sd15-sketch": 1,
}
STYLE = ("t2iadapter-style-sd15",)


def computed(folder: Path, name: str) -> compare.Pairs:
    """Ours and the reference, by the name of the array."""
    arrays = stored(folder, name)
    if name in STYLE:
        ours = style(arrays)
    elif name in IP:
        ours = ip(arrays, stored(folder, "ip-adapter-sd15"), IP[name])
    else:
        ours = t2i(arrays, T2I[name])
    return {array: (np.asarray(x), arrays[array]) for array, x in ours.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--name", nargs="*", default=[*T2I, *STYLE, *IP])
    options = parser.parse_args()
    for case in options.name:
        print(compare.table(case, computed(options.golden, case)), flush=True)
