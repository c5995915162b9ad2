"""Images from the prior of a variational autoencoder, and interpolations between them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import runs
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling.drawing import Drawn
from ldm_jax.sampling.generate import in_batches
from ldm_jax.sampling.interpolation import slerp
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request, RunView, Section
from ldm_jax.settings import AtLeast2
from ldm_jax.types import Array, Batch, FirstStage, Params


@dataclass(frozen=True)
class Rows(Section):
    """Rows of images between two latents."""

    key: ClassVar[str] = "rows"
    excludes: ClassVar = {"interpolate": ("latents",)}

    interpolate: AtLeast2 | None = None
    """images a row, between the latents of two seeds"""

    def count(self) -> int | None:
        return 4 * self.interpolate if self.interpolate else None

    def check(self, request: Request, run: RunView) -> None:
        if self.interpolate is None:
            return
        if request.images.num % self.interpolate:
            raise InputError(
                f"--num is {request.images.num}: expected a multiple of --interpolate, which is "
                f"{self.interpolate}"
            )


def draw(trained: runs.Trained, request: Request) -> Drawn:
    """The images of a request to a first stage that is a generative model by itself."""
    run, images, rows = view(trained), request.images, request.rows.interpolate
    shape = run.latent_shape()
    z = request.latents.noise(request, run)
    if z is None and rows:
        z = interpolated(images.seed, images.num // rows, rows, shape)
    elif z is None:
        z = normal(images.seed + np.arange(images.num), shape)
    decode, mesh = make_draw(trained.model), devices("jit")

    def one_batch(chosen: Batch, seeds: np.ndarray) -> Array:
        return decode(trained.params, mesh.split(chosen["z"]))

    seeds = np.arange(images.num)  # of no use: the latents are given
    found = in_batches(one_batch, {"z": np.asarray(z)}, seeds, images.batch_size)
    return Drawn(image_files.to_uint8(found))


def make_draw(first_stage: FirstStage) -> Callable[[Params, Array], Array]:
    """A compiled function (params, z [B, h, w, c] as the prior N(0, I) gives it) -> images."""

    return jax.jit(lambda params, z: jnp.clip(first_stage.decode(params, scaled(params, z)), -1, 1))


def normal(seeds: np.ndarray, shape: tuple[int, ...]) -> Array:
    """Standard normal latents [N, *shape]; each follows from its own seed alone."""
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def interpolated(seed: int, rows: int, steps: int, shape: tuple[int, ...]) -> Array:
    """Latents [rows * steps, *shape]: row r leads from seed + 2 r to seed + 2 r + 1, both shown."""
    ends = normal(seed + np.arange(2 * rows), shape)
    a, b = jnp.repeat(ends[::2], steps, axis=0), jnp.repeat(ends[1::2], steps, axis=0)
    return slerp(a, b, jnp.tile(jnp.linspace(0.0, 1.0, steps), rows))
