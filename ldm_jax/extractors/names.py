"""The extractors by name."""

from collections.abc import Callable
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
    described, prepare, scale = INCEPTION_RESIZES[resize]
    return Extractor(
        name="inception",
        title="InceptionV3 (TensorFlow, 2015-12-05)",
        distance="FID",
        main="pool",
        init=_init(inception.InceptionV3(), inception.SIZE),
        prepare=prepare,
        scale=scale,
        network=_apply(inception.InceptionV3()),
        resize=described,
        size=inception.SIZE,
    )


def _as_is(images: np.ndarray) -> np.ndarray:
    return images


# name -> description for reports, what is done on the host, and what before the network
INCEPTION_RESIZES: dict[str, tuple[str, Callable, Callable]] = {
    "tensorflow": (
        "TensorFlow 1's bilinear filter to 299 pixels (as ADM and torch-fidelity)",
        _as_is,
        lambda x: (tensorflow_bilinear(x, inception.SIZE) - 128.0) / 128.0,
    ),
    "pytorch": (
        "PyTorch's bilinear filter to 299 pixels (as pytorch-fid)",
        _as_is,
        lambda x: half_pixel_bilinear(x, inception.SIZE) / 127.5 - 1.0,
    ),
    "clean": (
        "Pillow's antialiased bicubic filter to 299 pixels, not rounded (as clean-fid)",
        lambda images: clean_bicubic(images, inception.SIZE),
        lambda x: (jnp.asarray(x) - 128.0) / 128.0,
    ),
}


def _mobilenet(_: str) -> Extractor:
    return Extractor(
        name="mobilenet",
        title="MobileNetV2 (torchvision, ImageNet)",
        distance="MobileNetV2 Frechet distance",
        main="pool",
        init=_init(mobilenet.MobileNetV2(), mobilenet.SIZE),
        prepare=lambda images: pillow_bicubic(images, mobilenet.SIZE),
        scale=_imagenet,
        network=_apply(mobilenet.MobileNetV2()),
        resize=f"Pillow's antialiased bicubic filter to {mobilenet.SIZE} pixels",
        size=mobilenet.SIZE,
    )


def _imagenet(x: Array) -> Array:
    return (jnp.asarray(x, jnp.float32) / 255.0 - IMAGENET_MEAN) / IMAGENET_STD


def _dinov2(_: str) -> Extractor:
    of = dinov2.VIT_L14
    return Extractor(
        name="dinov2",
        title="DINOv2 ViT-L/14",
        distance="FD-DINOv2",
        main="pool",
        init=_init(dinov2.DINOv2(of), of.size),
        prepare=lambda images: pillow_bicubic(images, of.size),
        scale=_imagenet,
        network=_pooled(dinov2.DINOv2(of)),
        resize=f"Pillow's antialiased bicubic filter to {of.size} pixels",
        size=of.size,
    )


def _clip(name: str) -> Callable[[str], Extractor]:
    of = ARCHITECTURES[name]
    title = {
        "vit_b32": "ViT-B/32",
        "vit_b16": "ViT-B/16",
        "vit_l14": "ViT-L/14",
        "vit_l14_336": "ViT-L/14 at 336",
    }[name]

    def make(_: str) -> Extractor:
        return Extractor(
            name=f"clip_{name}",
            title=f"CLIP {title}, image encoder",
            distance=f"CLIP {title} Frechet distance",
            main="pool",
            init=_init(CLIPImageEncoder(of), of.size),
            prepare=lambda images: pillow_bicubic(images, of.size),
            scale=lambda x: normalised(jnp.asarray(x, jnp.float32) / 255.0),
            network=_pooled(CLIPImageEncoder(of)),
            resize=f"Pillow's antialiased bicubic filter to {of.size} pixels",
            size=of.size,
        )

    return make


def _pooled(network: nn.Module) -> Callable:
    return lambda params, x: {"pool": network.apply({"params": params}, x)}


def _init(network: nn.Module, size: int) -> Callable:
    return lambda key: network.init(key, jnp.zeros((1, size, size, 3)))["params"]


def _apply(network: nn.Module) -> Callable:
    return lambda params, x: network.apply({"params": params}, x)


MAKERS: dict[str, Callable[[str], Extractor]] = {
    "inception": _inception,
    "mobilenet": _mobilenet,
    "dinov2": _dinov2,
    **{f"clip_{name}": _clip(name) for name in ARCHITECTURES},
}
