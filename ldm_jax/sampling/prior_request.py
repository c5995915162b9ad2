"""A request for images of a first stage that is a generative model by itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ldm_jax import runs, sampling
from ldm_jax.config import MLPAutoencoder
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.experiments.train import check_batch
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling import prior
from ldm_jax.sampling.generate import at_once, in_batches
from ldm_jax.types import Array, Batch


@dataclass(frozen=True)
class Request:
    """Everything that decides which images are drawn."""

    num: int
    batch_size: int
    seed: int
    interpolate: int | None = None  # images a row, between two seeds
    latents: str | None = None  # .npy of the latents to decode


def resolve(
    trained: runs.TrainedFirstStage,
    *,
    num: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    interpolate: int | None = None,
    latents: str | None = None,
    **others: Any,
) -> Request:
    """The request, with 16 images or four rows of them where `num` is None.

    Args:
        others: what can be asked of a diffusion model; nothing of it may be set here.

    Raises:
        InputError: what the model cannot be asked for.
    """
    kind = type(trained.experiment.model)
    if kind is not MLPAutoencoder:
        raise InputError(
            f"run '{trained.run}' is a first stage, a {kind.__name__}, with no prior to draw from: "
            "expected the run of a diffusion model, trained with a config such as configs/demo.py"
        )
    for name, value in others.items():
        if value not in (None, ()):
            raise InputError(
                f"--{name.replace('_', '-')} given to a first stage: leave it out, or sample from "
                "the run of a diffusion model"
            )
    if num is None:
        num = 4 * interpolate if interpolate else 16
    if interpolate is not None:
        if interpolate < 2:
            raise InputError(f"--interpolate is {interpolate}: expected at least 2, both ends")
        if latents:
            raise InputError("--interpolate and --latents both say which latents: leave one out")
        if num % interpolate:
            raise InputError(
                f"--num is {num}: expected a multiple of --interpolate, which is {interpolate}"
            )
    sampling.check_count(num, seed)
    batch_size = at_once(num) if batch_size is None else batch_size
    check_batch(batch_size, "--batch-size")
    asked = Request(num, batch_size, seed, interpolate, latents)
    if latents:
        sampling.load_latents(latents, _shape(trained, asked))
    return asked


def _shape(trained: runs.TrainedFirstStage, asked: Request) -> tuple[int, int, int, int]:
    side = trained.experiment.data.image_size // trained.model.factor
    return asked.num, side, side, trained.model.channels


def draw(trained: runs.TrainedFirstStage, asked: Request) -> sampling.Drawn:
    """The images of a request."""
    shape = _shape(trained, asked)
    if asked.latents:
        z = sampling.load_latents(asked.latents, shape)
    elif asked.interpolate:
        rows = asked.num // asked.interpolate
        z = prior.walks(asked.seed, rows, asked.interpolate, shape[1:])
    else:
        z = prior.normal(asked.seed + np.arange(asked.num), shape[1:])
    decode, spread = prior.make_draw(trained.model), devices("jit")

    def one_batch(chosen: Batch, seeds: np.ndarray) -> Array:
        return decode(trained.params, spread.split(chosen["z"]))

    seeds = np.arange(asked.num)  # of no use: the latents are given
    images = in_batches(one_batch, {"z": np.asarray(z)}, seeds, asked.batch_size)
    return sampling.Drawn(image_files.to_uint8(images))


def write(
    out: Path, drawn: sampling.Drawn, trained: runs.TrainedFirstStage, asked: Request
) -> None:
    """Writes what `sampling.write` does, a row of the grid for each walk."""
    sampling.write(out, drawn, trained, asked, columns=asked.interpolate)
