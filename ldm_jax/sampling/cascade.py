"""Images through the stages of a cascade, one model after the other."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image
from tokenizers import Tokenizer

from ldm_jax import runs
from ldm_jax.conditioning import compose
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
    draws:      of embeddings, of which one is kept
    embed:      (params, images) -> their embeddings [n, d], where the stage reads such
    """

    name: str
    model: DiffusionModel
    sampling: Sampling
    size: tuple[int, int]
    feeds: str | None
    read: Callable[[], Params]
    tokenizers: Mapping[str, Tokenizer] = {}
    batch_size: int | None = None
    draws: int = 1
    embed: Callable[[Params, Sequence[Image.Image]], np.ndarray] | None = None

    @property
    def drawn(self) -> tuple[int, ...]:
        """The shape of what it draws."""
        stage = self.model.first_stage
        return (*self.size, 3) if stage.images else (stage.channels,)


def parts_of(cascade: Cascade) -> list[Part]:
    """The stages of a cascade, described by their runs.

    Raises:
        InputError: what is no run of a diffusion model, or stages that do not fit.
    """
    cascade.check()
    fed, parts = "", []
    for stage in cascade.stages:
        described = runs.describe(Path(stage.run))
        experiment, side = described.experiment, described.experiment.data.image_size
        conditions = tuple(one.fed(fed) for one in experiment.conditions)
        model = described.model
        if conditions != experiment.conditions:
            model = replace(experiment, conditions=conditions).build(described.tokenizers)
        part = Part(
            f"'{stage.run}'",
            model,
            stage.sampling or experiment.sampling,
            (side, side),
            stage.feeds,
            lambda described=described: runs.with_weights(described).params,
            described.tokenizers,
            stage.batch_size,
            stage.draws,
            compose.embedder(experiment.conditions),
        )
        parts.append(part)
        fed = stage.feeds
    check_fits(parts)
    return parts


def check_fits(parts: Sequence[Part]) -> None:
    """Raises InputError where a stage does not read what the one before draws."""
    for part in parts:
        if part.draws > 1 and part.model.first_stage.images:
            raise InputError(
                f"stage {part.name} has draws {part.draws}: expected 1, since it draws images, and "
                "the embeddings of a prior alone are compared with their captions"
            )
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
        if wanted != before.drawn:
            what = "images" if before.model.first_stage.images else "embeddings"
            raise InputError(
                f"stage {before.name} draws {what} {before.drawn}, and {after.name} reads "
                f"{before.feeds} {wanted}: expected the same"
            )
    if not parts[-1].model.first_stage.images:
        raise InputError(
            f"stage {parts[-1].name}, the last, draws embeddings: expected a decoder after it, "
            "which reads image_embedding"
        )


def draw(
    parts: Sequence[Part],
    seeds: Sequence[int],
    prompts: Sequence[str] = ("",),
    inputs: Batch | None = None,
    noise: np.ndarray | None = None,
) -> list[np.ndarray]:
    """What each stage draws, images [N, H_i, W_i, 3] in [-1, 1] or embeddings [N, d]; the last are
    the cascade's.

    Each image depends on its own seed alone.

    Args:
        prompts: cycled, by the stages that read captions.
        inputs: further entries that stages read, each [N, ...].
        noise: [N, h, w, c] that the first stage starts from; None: of the seeds.

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
        chosen = {key: given[key] for key in keys}
        if noise is not None and not drawn:
            chosen["noise"] = noise
        found = _draw_one(part, chosen, seeds)
        drawn.append(found)
        passed = in_levels(found) if part.model.first_stage.images else found
        fed = {part.feeds: passed} if part.feeds else {}
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
        noise = chosen.pop("noise", None)
        return generate(params, chosen, some, times, s.guidance, options, noise, extras)

    best = f", the best of {part.draws}" if part.draws > 1 else ""
    print(f"{part.name}: {sampling.describe(s)}{best}", flush=True)
    size = part.batch_size or at_once(len(seeds))
    found = [in_batches(one_batch, inputs, several(seeds, k), size) for k in range(part.draws)]
    if part.draws > 1:
        embed = jax.jit(lambda chosen, some: part.model.condition(params, chosen).vector)
        found = [most_similar(np.stack(found), in_batches(embed, inputs, seeds, size))]
    memory.give_back()
    return found[0]


def several(seeds: Sequence[int], k: int) -> np.ndarray:
    """Seeds of the k-th of several draws of each image; the first are its own."""
    if k == 0:
        return np.asarray(seeds, np.uint32)
    return np.concatenate([np.random.SeedSequence((int(s), k)).generate_state(1) for s in seeds])


def most_similar(drawn: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """Of draws [k, N, d] those [N, d] of the largest cosine to captions [N, d] (Ramesh et al. 2022,
    section 2.2)."""
    cosine = np.einsum("knd,nd->kn", drawn / np.linalg.norm(drawn, axis=-1)[..., None], captions)
    return drawn[np.argmax(cosine, axis=0), np.arange(len(captions))]
