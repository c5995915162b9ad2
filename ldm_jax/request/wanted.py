"""What is asked of a diffusion model, resolved."""

from dataclasses import dataclass

from ldm_jax.config import Sampling


@dataclass(frozen=True, kw_only=True)
class Request(Sampling):
    """Everything that decides which pictures are drawn.

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
