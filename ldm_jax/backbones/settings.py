"""The interface of a backbone's settings.

A backbone is one file here: a subclass of `BackboneSettings`, frozen settings as a config file
writes them, and the functions that it builds.
"""

from dataclasses import dataclass

from ldm_jax.types import Backbone


@dataclass(frozen=True)
class BackboneSettings:
    """Settings of a denoising network; subclasses override what differs."""

    # no annotations, by which they would be fields of subclasses, and the first
    multiple = 1  # sides of latents are multiples of it
    vector_width = None  # of the vector of a condition; None: it takes none
    vector_dim = None  # the same where it has layers for a vector; None: it is added as it is
    vector_entries = None  # entries of its table of vectors; None: it has none
    karlo = None  # which part of Karlo it is; None: none

    def heads(self, prefix: str) -> list[tuple[str, int]]:
        """Its counts of attention heads by name, which `train.mesh.tensor` shares out."""
        return []

    def check(self, prefix: str) -> None:
        """Raises InputError where fields do not go together; `prefix` is of their names."""

    def build(self, in_channels: int, out_channels: int) -> Backbone:
        """The network for latents of `in_channels` channels."""
        raise NotImplementedError
