"""The extractors by name."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ldm_jax.encoders.clip.vision import ARCHITECTURES, CLIPImageEncoder, normalised
from ldm_jax.errors import InputError
from ldm_jax.extractors import dinov2, inception, mobilenet
from ldm_jax.extractors.extractor import Extractor
from ldm_jax.extractors.resize import (
    clean_bicubic,
    half_pixel_bilinear,
    pillow_bicubic,
    tensorflow_bilinear,
)
from ldm_jax.types import Array

ExtractorName = Literal[
    "inception",
    "mobilenet",
    "dinov2",
    "clip_vit_b32",
    "clip_vit_b16",
    "clip_vit_l14",
    "clip_vit_l14_336",
]
ResizeName = Literal["tensorflow", "pytorch", "clean"]  # whose FID it is


# ImageNet's statistics of values in 0 ... 1
IMAGENET_MEAN = np.asarray([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.asarray([0.229, 0.224, 0.225], np.float32)


def extractor(name: ExtractorName, resize: ResizeName | None = None) -> Extractor:
    """The extractor of this name.

    Args:
        resize: only of InceptionV3: the resampling filter and scaling, which determine whose FID it
            is: "tensorflow" (the default) is that of the original code, ADM and torch-fidelity,
            "pytorch" pytorch-fid's, "clean" clean-fid's.

    Raises:
        InputError: no extractor has this name, or its way of resizing cannot be chosen.
    """
    if name not in MAKERS:
        raise InputError(f"extractor is {name!r}: expected one of {', '.join(MAKERS)}")
    if resize is not None and name != "inception":
        raise InputError(
            f"resize is {resize!r}, which is only of inception: leave it out, {name} has its own"
        )
    return MAKERS[name](resize or "tensorflow")


def _inception(resize: str) -> Extractor:
    if resize not in INCEPTION_RESIZES:
        names = ", ".join(get_args(ResizeName))
        raise InputError(f"resize is {resize!r}: expected one of {names}")
    network = inception.InceptionV3()
    described, prepare, scale = INCEPTION_RESIZES[resize]
    return Extractor(
        name="inception",
        title="InceptionV3 (TensorFlow, 2015-12-05)",
        distance="FID",
        init=_init(network, inception.SIZE),
        prepare=prepare,
        scale=scale,
        network=_apply(network),
        resize=described,
        size=inception.SIZE,
    )


# name -> description for reports, what is done on the host, and what before the network
INCEPTION_RESIZES: dict[str, tuple[str, Callable, Callable]] = {
    "tensorflow": (
        "TensorFlow 1's bilinear filter to 299 pixels (as ADM and torch-fidelity)",
        lambda images: images,
        lambda x: (tensorflow_bilinear(x, inception.SIZE) - 128.0) / 128.0,
    ),
    "pytorch": (
        "PyTorch's bilinear filter to 299 pixels (as pytorch-fid)",
        lambda images: images,
        lambda x: half_pixel_bilinear(x, inception.SIZE) / 127.5 - 1.0,
    ),
    "clean": (
        "Pillow's antialiased bicubic filter to 299 pixels, not rounded (as clean-fid)",
        lambda images: clean_bicubic(images, inception.SIZE),
        lambda x: (jnp.asarray(x) - 128.0) / 128.0,
    ),
}


def _by_pillow(
    titles: tuple[str, str, str],
    network: nn.Module,
    size: int,
    normalise: Callable[[Array], Array],
) -> Extractor:
    """An extractor whose images Pillow resizes.

    Args:
        titles: its name, title and distance.
        normalise: values in 0 ... 1 -> the network's input.
    """
    return Extractor(
        *titles,
        init=_init(network, size),
        prepare=lambda images: pillow_bicubic(images, size),
        scale=lambda x: normalise(jnp.asarray(x, jnp.float32) / 255.0),
        network=_apply(network),
        resize=f"Pillow's antialiased bicubic filter to {size} pixels",
        size=size,
    )


def _imagenet(x: Array) -> Array:
    return (x - IMAGENET_MEAN) / IMAGENET_STD


def _mobilenet(_: str) -> Extractor:
    titles = "mobilenet", "MobileNetV2 (torchvision, ImageNet)", "MobileNetV2 Frechet distance"
    return _by_pillow(titles, mobilenet.MobileNetV2(), mobilenet.SIZE, _imagenet)


def _dinov2(_: str) -> Extractor:
    titles, of = ("dinov2", "DINOv2 ViT-L/14", "FD-DINOv2"), dinov2.VIT_L14
    return _by_pillow(titles, dinov2.DINOv2(of), of.size, _imagenet)


TITLES = ("ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14 at 336")  # of CLIP's ARCHITECTURES


def _clip(name: str, _: str) -> Extractor:
    of = ARCHITECTURES[name]
    title = f"CLIP {dict(zip(ARCHITECTURES, TITLES, strict=True))[name]}"
    titles = f"clip_{name}", f"{title}, image encoder", f"{title} Frechet distance"
    return _by_pillow(titles, CLIPImageEncoder(of), of.size, normalised)


def _init(network: nn.Module, size: int) -> Callable:
    return lambda key: network.init(key, jnp.zeros((1, size, size, 3)))["params"]


def _apply(network: nn.Module) -> Callable:
    """(params, x) -> features by name; "pool" where the network has one."""

    def features(params, x):
        found = network.apply({"params": params}, x)
        return found if isinstance(found, dict) else {"pool": found}

    return features


MAKERS: dict[str, Callable[[str], Extractor]] = {
    "inception": _inception,
    "mobilenet": _mobilenet,
    "dinov2": _dinov2,
    **{f"clip_{name}": partial(_clip, name) for name in ARCHITECTURES},
}
