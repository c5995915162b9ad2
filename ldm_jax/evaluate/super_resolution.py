"""PSNR and LPIPS of enlarged images, against bicubic."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.data import image_files
from ldm_jax.data.transforms import normalize
from ldm_jax.evaluate import held_out, results
from ldm_jax.losses.lpips import Network, lpips
from ldm_jax.metrics.reconstruction import psnr
from ldm_jax.weights.names.lpips import load_lpips


@dataclass(frozen=True)
class Options(held_out.Options):
    """The settings of `super-resolution`."""

    lpips: Network | None = None
    """the network of the perceptual distance LPIPS; default: no LPIPS"""
    lpips_weights: str | None = None
    """its weights; default: installed, or downloaded"""


def super_resolution(run: str, options: Options) -> None:
    """Enlarges downsampled held-out images, and prints PSNR and LPIPS to the originals."""
    measures = {"PSNR": (psnr, "dB")}
    if options.lpips:
        params = load_lpips(options.lpips, options.lpips_weights)
        distance = lpips(options.lpips).distance
        measures["LPIPS"] = (lambda x, y: distance(params, x, y), options.lpips)
    found = held_out.draw_held_out(run, "low_resolution", options, "super-resolution")
    small = image_files.to_uint8(found.inputs["low_resolution"])
    H, W = found.truth.shape[1:3]
    bicubic = np.stack([enlarge(image, H, W) for image in small])
    nearest = small.repeat(H // small.shape[1], axis=1).repeat(W // small.shape[2], axis=2)
    results.show(found.out, nearest, bicubic, found.drawn, found.truth)
    truth, *compared = (jnp.asarray(normalize(x)) for x in (found.truth, found.drawn, bicubic))
    scores = {
        name: [results.known(jnp.mean(measure(truth, x))) for x in compared]
        for name, (measure, _) in measures.items()
    }
    results.write_json(found.out / "scores.json", scores)
    for name, pair in scores.items():
        ours, theirs = (results.number(x, ".3f") for x in pair)
        print(f"{name}: {ours} {measures[name][1]} (bicubic {theirs})")


def enlarge(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [h, w, 3] -> uint8 [height, width, 3], bicubic."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
