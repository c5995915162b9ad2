"""The types through which the parts meet.

Shapes are written [B, ...] for a batch of B examples. Images are float32 [B, H, W, 3] in [-1, 1];
latents are [B, h, w, c], scaled to unit variance. A key array `keys` [B] holds one random key an
example, so that the numbers an example draws depend neither on its batch nor on its device.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.struct
import jax

Array = jax.Array
Params = Any  # a nested dict of arrays
Batch = dict[str, Array]
Metrics = dict[str, Array]


class Process(Protocol):
    """A Gaussian noising process z_t = alpha_t x + sigma_t eps, t = 0 (data) ... T (noise)."""

    T: int

    def rates(self, t: Array) -> tuple[Array, Array]:
        """alpha_t and sigma_t, each of the shape of `t`."""


class Denoised(NamedTuple):
    """What a denoiser answers: the clean latents it expects behind z_t."""

    x0: Array  # [B, h, w, c]
    log_variance: Array | None = None  # [B, h, w, c], where the network learns it


Denoise = Callable[[Array, Array], Denoised]  # (z [B, h, w, c], t [B]) -> Denoised


class Sampler(NamedTuple):
    """One way of walking from noise to data.

    init: z [B, h, w, c] -> state (any pytree; () where nothing is remembered)
    step: (denoise, process, keys [B], z, t [B], s [B], state) -> (z at time s < t, state)
    """

    init: Callable[[Array], Any]
    step: Callable[..., tuple[Array, Any]]


class Gaussian(NamedTuple):
    """A diagonal Gaussian over latents, before scaling."""

    mean: Array  # [B, h, w, c]
    log_variance: Array  # [B, h, w, c]


class FirstStage(NamedTuple):
    """Images to latents and back.

    init:      key -> params (with the scale of its latents, as in autoencoders/latents.py)
    posterior: (params, images) -> Gaussian, unscaled
    encode:    (params, images, keys [B]) -> scaled latents drawn from the posterior
    decode:    (params, latents) -> images
    factor:    pixels per latent in each direction
    channels:  c
    """

    init: Callable[[Array], Params]
    posterior: Callable[[Params, Array], Gaussian]
    encode: Callable[[Params, Array, Array], Array]
    decode: Callable[[Params, Array], Array]
    factor: int
    channels: int


class Cond(flax.struct.PyTreeNode):
    """What a denoiser may be told. A slot that is None is not used."""

    vector: Array | None = None  # [B, d]       added to the time embedding
    tokens: Array | None = None  # [B, n, d]    attended to
    mask: Array | None = None  # [B, n] bool  which tokens count
    concat: Array | None = None  # [B, h, w, k] further input channels
    residuals: Any = None  # added to the skip connections


class Conditioner(NamedTuple):
    """Turns the part of a batch that it names into a Cond.

    init:  key -> params
    apply: (params, inputs) -> Cond
    null:  number of examples -> inputs that stand for "no condition" (for guidance)
    keys:  names of the entries of a batch that `apply` reads
    dim:   width of the tokens, 0 where there are none
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Batch], Cond]
    null: Callable[[int], Batch]
    keys: tuple[str, ...]
    dim: int


class TrainState(flax.struct.PyTreeNode):
    """Everything that training changes; arrays only."""

    step: Array  # int32 scalar: updates made so far
    params: Params
    ema: Params  # of the trained part of params
    opt_state: Any


class LatentDiffusion(NamedTuple):
    """A whole model, as functions over params = {"first_stage", "denoiser", "conditioner"}.

    init:     key -> params of "denoiser" and "conditioner"
    denoiser: (params, z [B, h, w, c], steps [B] counted from 0, cond) -> raw output [B, h, w, c]
    """

    init: Callable[[Array], Params]
    denoiser: Callable[..., Array]
    conditioner: Conditioner
    first_stage: FirstStage
    process: Process
    prediction: Any  # ldm_jax.diffusion.prediction.Prediction
