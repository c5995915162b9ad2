"""The interface of a first stage's settings."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ldm_jax.errors import InputError
from ldm_jax.types import FirstStage
from ldm_jax.weights.names.autoencoder import Description
from ldm_jax.weights.table import Table


@dataclass(frozen=True)
class Autoencoder:
    """Settings of a first stage; subclasses override what differs.

    A subclass has z_channels, the channels of its latents, and `factor`, pixels per latent in each
    direction.

    has_posterior:  whether its latents are drawn, so that a KL divergence regularises them
    has_codebook:   whether they are rounded to codes
    has_likelihood: whether it has a likelihood of images of its own
    scaled_latents: whether its latents are those of the diffusion model, scaled
    diffusers_class: its class in diffusers; None: there is none
    """

    has_posterior: ClassVar[bool] = False
    has_codebook: ClassVar[bool] = False
    has_likelihood: ClassVar[bool] = False
    scaled_latents: ClassVar[bool] = False
    diffusers_class: ClassVar[str | None] = None

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
