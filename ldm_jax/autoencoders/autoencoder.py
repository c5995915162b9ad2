"""What first stages share: the interface of their settings, and how latents are scaled."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.autoencoders.latents import draw, scaled, unit, unscaled
from ldm_jax.errors import InputError
from ldm_jax.types import Array, FirstStage, Params
from ldm_jax.weights.names.autoencoder import Description
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class Autoencoder:
    """Settings of a first stage; subclasses override what differs.

    A subclass has z_channels, the channels of its latents, and `factor`.
    """

    # whether its latents are drawn, so that a KL divergence regularises them
    has_posterior: ClassVar[bool] = False
    has_codebook: ClassVar[bool] = False  # whether they are rounded to codes
    has_likelihood: ClassVar[bool] = False  # whether it has a likelihood of images of its own
    scaled_latents: ClassVar[bool] = False  # whether they are the diffusion model's, scaled
    diffusers_class: ClassVar[str | None] = None  # its class in diffusers; None: there is none

    @property
    def factor(self) -> int:
        """Pixels per latent in each direction."""
        raise NotImplementedError

    def check(self, prefix: str) -> None:
        """Raises InputError where fields do not go together; `prefix` is of their names."""

    def check_images(self, size: int, prefix: str) -> None:
        """Raises InputError for images of a size, in pixels, that it does not encode.

        Args:
            prefix: of the experiment's fields.
        """
        if size % self.factor:
            raise InputError(
                f"{prefix}data.image_size is {size}: expected a multiple of {self.factor}, the "
                "factor by which the first stage downsamples, such as "
                f"{math.ceil(size / self.factor) * self.factor}"
            )

    def build(self) -> FirstStage:
        """Its functions."""
        raise NotImplementedError

    def published(self) -> Params:
        """Its weights that are in a file of others, which do not train; {}: none are.

        Raises:
            InputError: there is no such file, or it has other weights.
        """
        return {}

    def describe(self) -> str:
        """A description for messages."""
        return type(self).__name__

    # its weights elsewhere

    def original_names(self) -> Table:
        """The names of its weights in the original code."""
        raise InputError(f"a {type(self).__name__} is published nowhere: there are no other names")

    def diffusers_names(self) -> Table:
        """Their names in diffusers."""
        return self.original_names()

    @classmethod
    def read_diffusers(cls, settings: Mapping[str, Any]) -> Description:
        """The settings that a config.json of `diffusers_class` describes."""
        raise NotImplementedError

    def diffusers_config(self, description: Description) -> dict[str, Any]:
        """The config.json of diffusers."""
        raise InputError(f"diffusers has no {type(self).__name__}")


def first_stage(
    config: Autoencoder,
    networks: Callable[[Array], Params],
    posterior: Callable,
    decode: Callable[[Params, Array], Array],
    reconstruct: Callable,
    parts: tuple[str, ...] = ("encoder", "decoder"),
    last_layer: tuple[str, ...] = ("decoder", "conv_out", "kernel"),
    limit: float | None = None,
) -> FirstStage:
    """The functions of a first stage, whose params are those of its networks and of latents.py,
    measured before the second stage.

    Args:
        networks: key -> params.
        decode: (params, unscaled latents) -> images.
    """

    def encode(params: Params, images: Array, keys: Array) -> Array:
        q = posterior(params, images)
        return scaled(params, draw(q, keys) if config.has_posterior else q.mean)

    return FirstStage(
        lambda key: networks(key) | unit(config.z_channels),
        posterior,
        encode,
        lambda params, latents: decode(params, unscaled(params, latents)),
        reconstruct,
        config.factor,
        config.z_channels,
        parts,
        last_layer,
        limit,
    )


def init_both(
    encoder: nn.Module, decoder: nn.Module, image: tuple[int, ...], latent: tuple[int, ...]
) -> Callable[[Array], Params]:
    """key -> {"encoder", "decoder"}, for inputs of these shapes."""

    def init(key: Array) -> Params:
        keys = jax.random.split(key)
        each = {"encoder": (encoder, image), "decoder": (decoder, latent)}
        return {
            name: network.init(own, jnp.zeros(shape))["params"]
            for own, (name, (network, shape)) in zip(keys, each.items(), strict=True)
        }

    return init
