"""Images through the stages of a cascade, one model after the other."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.experiments.cascade import Cascade
from ldm_jax.runtime import memory
from ldm_jax.sampling.generate import Extras, at_once, in_batches, make_generate
from ldm_jax.types import Batch, DiffusionModel, Params


class Part(NamedTuple):
    """One stage as it draws.

    name:       of its run, for messages
    size:       height and width of its images
    feeds:      entry of the next stage's batch that its images are
    read:       () -> params; each stage's are held only while it draws
    tokenizers: entry of a batch -> what makes it of a prompt
    batch_size: images at once; None: 16, or fewer where there are fewer
    """

    name: str
    model: DiffusionModel
    sampling: Sampling
    size: tuple[int, int]
    feeds: str | None
    read: Callable[[], Params]
    tokenizers: Mapping[str, Tokenizer] = {}
    batch_size: int | None = None


def parts_of(cascade: Cascade) -> list[Part]:
    """The stages of a cascade, described by their runs.

    Raises:
        InputError: what is no run of a diffusion model, or stages that do not fit.
    """
    cascade.check()
    parts = []
    for stage in cascade.stages:
        described = runs.describe(Path(stage.run))
        side = described.experiment.data.image_size
        part = Part(
            f"'{stage.run}'",
            described.model,
            stage.sampling or described.experiment.sampling,
            (side, side),
            stage.feeds,
            lambda described=described: runs.with_weights(described).params,
            described.tokenizers,
            stage.batch_size,
        )
        parts.append(part)
    check_fits(parts)
    return parts


def check_fits(parts: Sequence[Part]) -> None:
    """Raises InputError where a stage does not read what the one before draws."""
    for before, after in itertools.pairwise(parts):
        factor = after.model.first_stage.factor
        h, w = (side // factor for side in after.size)
        entries = after.model.conditioner.null(1, h, w)
        if before.feeds not in after.model.conditioner.keys:
            keys = ", ".join(after.model.conditioner.keys) or "nothing"
            raise InputError(
                f"stage {before.name} feeds '{before.feeds}' to {after.name}: expected one of the "
                f"entries that it reads, {keys}"
            )
        wanted = tuple(np.shape(entries[before.feeds])[1:])
        drawn = (*before.size, 3)
        if wanted != drawn:
            raise InputError(
                f"stage {before.name} draws images {drawn}, and {after.name} reads "
                f"{before.feeds} {wanted}: expected the same"
            )


def draw(
    parts: Sequence[Part],
    seeds: Sequence[int],
    prompts: Sequence[str] = ("",),
    inputs: Batch | None = None,
) -> list[np.ndarray]:
    """The images of each stage, [N, H_i, W_i, 3] in [-1, 1]; the last are the cascade's.

    Each image depends on its own seed alone.

    Args:
        prompts: cycled, by the stages that read captions.
        inputs: further entries that stages read, each [N, ...].

    Raises:
        InputError: an entry that a stage reads and nothing gives.
    """
    each, drawn, fed = [prompts[i % len(prompts)] for i in range(len(seeds))], [], {}
    for part in parts:
        captions = {
            entry: np.stack([tokens.encode(tokenizer, prompt) for prompt in each])
            for entry, tokenizer in part.tokenizers.items()
        }
        given = {**(inputs or {}), **captions, **fed}
        keys = part.model.conditioner.keys
        missing = [key for key in keys if key not in given]
        if missing:
            raise InputError(f"stage {part.name} reads '{missing[0]}': expected it beside prompts")
        images = _draw_one(part, {key: given[key] for key in keys}, seeds)
        drawn.append(images)
        fed = {part.feeds: in_levels(images)} if part.feeds else {}
    return drawn


def in_levels(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] with the 256 levels that they have in files."""
    return image_files.to_uint8(images).astype(np.float32) / 127.5 - 1.0


def _draw_one(part: Part, inputs: Batch, seeds: Sequence[int]) -> np.ndarray:
    s, params = part.sampling, part.read()
    generate = make_generate(part.model, build_sampler(s.sampler), part.size)
    times, options = sampling.padded_times(s, part.model.process), sampling.arguments(s)
    extras = Extras(noise_scale=s.noise_scale)

    def one_batch(chosen: Batch, some: np.ndarray):
        return generate(params, chosen, some, times, s.guidance, options, extras=extras)

    print(f"{part.name}: {sampling.describe(s)}", flush=True)
    images = in_batches(one_batch, inputs, seeds, part.batch_size or at_once(len(seeds)))
    memory.give_back()
    return images
