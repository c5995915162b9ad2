"""What is asked of a diffusion model, resolved."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ldm_jax.config import Sampling


@dataclass(frozen=True, kw_only=True)
class Request(Sampling):
    """Everything that decides which images are drawn.

    Of the sampler's options, those that it does not take are None; so is the grid where times are
    given.
    """

    num: int
    batch_size: int
    seed: int
    prompts: tuple[str, ...] = ()  # taken in turn
    labels: tuple[int, ...] = ()  # taken in turn
    latents: str | None = None  # .npy of the noise to start from
    tile: int | None = None  # latents a side of the tiles that are decoded one by one
    negative_prompts: tuple[str, ...] = ()  # taken in turn; what to stay away from
    guidance_rescale: float | None = None
    guidance_interval: tuple[float, ...] = ()  # two noise levels sigma / alpha
    threshold: float | None = None  # of latents
    init_image: str | None = None  # to start from
    strength: float | None = None  # how much of the grid is walked from there
    mask: str | None = None  # white where the image is made anew
    guidance_schedule: str = "constant"  # over time, with the guidance as its mean
    compose: tuple[str, ...] = ()  # prompts, all of which each image is to show
    compose_weights: tuple[float, ...] = ()  # how much each counts, times the guidance
    classifier: str | None = None  # run of one, which guides to the labels
    classifier_scale: float | None = None
    resample: int | None = None  # how often RePaint takes
    jump_length: int | None = None  # so many steps
    invert: bool = False  # start from the noise behind init_image
    source: str | None = None  # prompt or label of what init_image shows
    boxes: str | None = None  # what the model is told, by its task: .json of boxes
    segmentation: str | None = None  # image of classes
    low_resolution: str | None = None  # small image
    noise_level: int | None = None  # of the small image, or of what is seen in the one to vary
    depth: str | None = None  # image of how near things are
    image: str | None = None  # image to vary
    neighbours: str | None = None  # .npy of embeddings, or a folder of such
    query: str | None = None  # .npy of embeddings, whose nearest among those are told
    from_data: int | None = None  # so many conditions of the data's test split, taken in turn
    emphasis: bool = False  # whether brackets in prompts weigh words
    long_prompts: bool = False  # whether prompts are read beyond what the tower reads at once
    clip_skip: int | None = None  # which layer of the tower from its end is told, 1 the last
    frames: int | None = None  # images of a whole walk, of which those from `turn` on are drawn
    to_prompts: tuple[str, ...] = ()  # from the prompt, one after another
    to_seeds: tuple[int, ...] = ()  # from the seed, one after another
    turn: int = 0  # place of the first image among what is taken in turn
    safety_check: str | None = None  # folder of a checker, of whose concepts images are black
    watermark: str | None = None  # text that is hidden in each image
    param_dtype: str | None = None  # of weights of two axes or more; None: as saved
    decode_with: str | None = None  # run of a first stage in place of the model's own
    preview_every: int | None = None  # so many steps, what the model expects by then is shown
    preview_with: str | None = None  # run of a first stage, by which; None: as in the end
    size: tuple[int, ...] = ()  # height and width in pixels; (): as trained
    patch: int | None = None  # latents a side of the patches that are denoised one by one


class Drawn(NamedTuple):
    """What came of a request.

    images:  uint8 [num, H, W, 3]
    latents: [num, h, w, c] the noise that was found behind an image, if that was asked for
    previews: uint8 [num, count, H, W, 3] on the way, if these were asked for
    """

    images: np.ndarray
    latents: np.ndarray | None = None
    previews: np.ndarray | None = None
