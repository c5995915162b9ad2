"""The types through which the parts meet.

Shapes are written [B, ...] for a batch of B examples. Images are float32 [B, H, W, 3] in [-1, 1];
latents are [B, h, w, c], scaled to unit variance. A key array `keys` [B] holds one random key an
example, so that the numbers an example draws depend neither on its batch nor on its device.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
Params = Any  # a nested dict of arrays
Batch = dict[str, Array]
Metrics = dict[str, Array]
# (an example as it is read, its random numbers) -> an entry of a batch
Derive = Callable[[dict[str, Any], np.random.Generator], np.ndarray]


class Process(Protocol):
    """A Gaussian noising process z_t = alpha_t x + sigma_t eps, t = 0 (data) ... T (noise).

    Times are numbers, whole or not. sigma / alpha increases from 0; alpha_T may be 0.
    """

    T: int
    discrete: bool  # whether training is at t = 1 ... T only

    def alpha_sigma(self, t: Array) -> tuple[Array, Array]:
        """alpha_t and sigma_t, each of the shape of `t`."""

    def time_at(self, log_snr: Array) -> Array:
        """The time at which log(alpha^2 / sigma^2) is `log_snr`; T where it is always higher."""

    def timestep(self, t: Array) -> Array:
        """The timestep that the network is given at time `t`."""

    def initial_noise_std(self, t: Array) -> Array:
        """Standard deviation of the noise from which sampling starts at time `t`."""


class Denoised(NamedTuple):
    """The output of a denoiser for z_t."""

    x0: Array  # [B, h, w, c] predicted x0
    # [B, h, w, c] where the network learns the variance of its steps: 0 is the posterior's
    # variance, 1 that of the noise which the step removes, and log-variance is linear between them
    variance_fraction: Array | None = None
    # [B, h, w, c] gradient by z of what guides; the mean of a reverse step moves by its variance
    # times it. Only with samplers that read it, see `Sampler.reads_score`
    score: Array | None = None


Denoise = Callable[[Array, Array], Denoised]  # (z [B, h, w, c], t [B]) -> Denoised


class Sampler(NamedTuple):
    """A sampler, from noise to data."""

    # (denoise, process, keys [B], z, t [B], s [B], state) -> (z at time s < t, state)
    step: Callable[..., tuple[Array, Any]]
    init: Callable[[Array], Any] = lambda z: ()  # z [B, h, w, c] -> state, any pytree
    reads_score: bool = False  # whether steps are guided by `Denoised.score`


class Gaussian(NamedTuple):
    """A diagonal Gaussian over latents, before scaling."""

    mean: Array  # [B, h, w, c]
    log_variance: Array  # [B, h, w, c]


class Reconstruction(NamedTuple):
    """Output of a first stage in training."""

    image: Array  # [B, H, W, 3]
    # what regularises the latents, by name, each [B]: "kl", or "commitment" and "codebook"
    terms: dict[str, Array]
    latents: Array  # [B, h, w, c] unscaled, as the encoder has them: drawn, or before quantization
    codes: Array | None = None  # [B, h, w] int32, the code of each; None: there is no codebook


class FirstStage(NamedTuple):
    """A first stage: encoder and decoder."""

    init: Callable[[Array], Params]  # key -> params, with the scale of autoencoders/latents.py
    # (params, images) -> Gaussian, unscaled; of log-variance -inf where nothing is drawn
    posterior: Callable[[Params, Array], Gaussian]
    # (params, images, keys [B]) -> scaled latents drawn from the posterior
    encode: Callable[[Params, Array, Array], Array]
    decode: Callable[[Params, Array], Array]  # (params, latents) -> images
    # (params, images, keys [B]) -> Reconstruction
    reconstruct: Callable[[Params, Array, Array], Reconstruction]
    factor: int  # pixels per latent in each direction
    channels: int  # c
    parts: tuple[str, ...]  # the names in params of what training changes
    last_layer: tuple[str, ...]  # the path in params of the kernel nearest to the image
    # largest absolute value of unscaled latents, or of scaled ones where it decodes to no images;
    # None: there is none
    limit: float | None = None
    images: bool = True  # whether `decode` gives images; False: embeddings [B, 1, 1, c]


class Perceptual(NamedTuple):
    """A perceptual distance of images."""

    init: Callable[[Array], Params]
    distance: Callable[[Params, Array, Array], Array]  # (params, x, y [B, H, W, 3]) -> [B]


class Cond(flax.struct.PyTreeNode):
    """What a denoiser is conditioned on. A field that is None is not used, and costs nothing."""

    # [B, d] added to the timestep's embedding; [B] int32 where the network has a table
    vector: Array | None = None
    tokens: Array | None = None  # [B, n, d] attended to
    mask: Array | None = None  # [B, n] bool, which tokens count
    concat: Array | None = None  # [B, h, w, k] further input channels
    # site -> [B, h_i, w_i, C_i] added to the hidden state there, see `Backbone.sites`
    added: Mapping[str, Array] | None = None
    # layer -> ((k, v, weight), ...), keys and values [B, n, width]. Of weight None: those of the
    # tokens, computed once for all timesteps. Of a weight, a number or [B]: further ones, attended
    # to separately from the tokens, their output times the weight
    attention: Mapping[str, tuple[tuple[Array, Array, Any], ...]] | None = None
    hints: Mapping[str, Any] | None = None  # adapter -> what of its inputs no timestep changes

    @property
    def count(self) -> int | None:
        """B; None where there is no condition."""
        return next((len(x) for x in jax.tree.leaves(self) if jnp.ndim(x)), None)

    def each(self, f: Callable[..., Array], *others: "Cond") -> "Cond":
        """f of every array [B, ...] (and of its counterparts in other conditions), numbers kept."""
        return jax.tree.map(lambda x, *y: f(x, *y) if jnp.ndim(x) else x, self, *others)


class Conditioner(NamedTuple):
    """Turns the part of a batch that it names into a Cond."""

    apply: Callable[[Params, Batch], Cond]  # (params, inputs) -> Cond
    # (number of examples, h=1, w=1) -> the unconditional inputs, for latents of h x w
    null: Callable[..., Batch]
    keys: tuple[str, ...]  # names of the entries of a batch that are its inputs
    init: Callable[[Array], Params] = lambda key: {}
    # (params of the first stage, inputs) -> inputs of `apply`, where some are images for the first
    # stage; None: the inputs as they are
    encode: Callable[[Params, Batch], Batch] | None = None
    trained: bool = True  # whether training changes its params
    dropped: tuple[str, ...] | None = None  # the keys that dropout and guidance drop; None: all
    # inputs (encoded) -> (latents [B, h, w, c], mask [B, h, w, 1]): what is known of x0 where the
    # mask is 0; None: nothing is
    known: Callable[[Batch], tuple[Array, Array]] | None = None

    def with_null(self, inputs: Batch, null: Batch) -> Batch:
        """The inputs with those that are dropped replaced by the null's, or its counterparts."""
        return inputs | {name: null[name] for name in self.droppable}

    @property
    def droppable(self) -> tuple[str, ...]:
        return self.keys if self.dropped is None else self.dropped


class TrainState(flax.struct.PyTreeNode):
    """Everything that training changes; arrays only."""

    step: Array  # int32 scalar: updates made so far
    params: Params
    ema: Params  # of the trained part of params
    opt_state: Any
    # further averages by their widths, see train_step/power_ema.py; {} where none are kept
    power: dict[str, Params] = flax.struct.field(default_factory=dict)


class Site(NamedTuple):
    """A layer of a backbone where an adapter may add something."""

    factor: int  # latents per position in each direction
    channels: int  # of the hidden state there
    attention: bool = False  # cross-attention, of `Cond.attention` and not of `Cond.added`


class Backbone(NamedTuple):
    """A denoising network, as `settings.build(in_channels, out_channels)` makes it."""

    # (key, cond of one example, for latents of `multiple` a side) -> params
    init: Callable[[Array, Cond], Params]
    # (params, z [B, h, w, in], timestep [B], cond [k B]) -> [k B, h, w, out]; the k conditions of a
    # latent lie one after the other
    apply: Callable[[Params, Array, Array, Cond], Array]
    # (params, cond) -> the same with the keys and values of its tokens, for use at many timesteps
    precompute: Callable[[Params, Cond], Cond] = lambda params, cond: cond
    multiple: int = 1  # h and w are multiples of it
    # whether it takes k B conditions of B latents, and computes once the layers before they differ;
    # False: it takes each latent k times
    shares: bool = False
    # what adapters may add to, by name: those of `Cond.added` in the order of the network, and the
    # cross-attention layers in the order in which they are published
    sites: Mapping[str, Site] = MappingProxyType({})


class DiffusionModel(NamedTuple):
    """A whole model, as functions over its params:
    {"first_stage", "denoiser", "conditioner", "adapters": {name: ...} where it has such}.
    """

    init: Callable[[Array], Params]  # key -> params, but for those of "first_stage"
    # (params, z [B, h, w, c], timestep [B], cond [k B]) -> raw output [k B, h, w, c], or
    # [k B, h, w, 2 c] where the variance is learned
    denoise: Callable[[Params, Array, Array, Cond], Array]
    precompute: Callable[[Params, Cond], Cond]  # the condition with all that no timestep changes
    condition: Callable[[Params, Batch], Cond]  # (params, inputs each [B, ...]) -> cond
    first_stage: FirstStage
    process: Process
    prediction: Any  # ldm_jax.diffusion.prediction.Prediction
    backbone: Backbone
    conditioner: Conditioner


class Adapter(NamedTuple):
    """A change of a trained model by params of its own, params["adapters"][name]."""

    # (key, params of the model) -> own params, which at first do not change the model
    init: Callable[[Array, Params], Params]
    keys: tuple[str, ...] = ()  # entries of a batch that it reads
    # (number of examples, h, w) -> unconditional entries, for latents of h x w
    null: Callable[[int, int, int], Batch] = lambda n, h, w: {}
    dropped: tuple[str, ...] = ()  # the keys that dropout and guidance drop, as the condition's
    # (own, its entries) -> hint, a tree of arrays [B, ...]: what of them no timestep changes
    encode: Callable[[Params, Batch], Any] | None = None
    # (own, hint [k B, ...], z [B, h, w, c], timestep [B], cond [k B]) -> Cond with what it adds at
    # this timestep: `added` and `attention`, of weight 1. The condition is that of the model
    # without adapters, and has no keys and values
    signal: Callable[[Params, Any, Array, Array, Cond], Cond] | None = None
    # (own, params of the model, scale) -> params of the model, changed
    weights: Callable[[Params, Params, Any], Params] | None = None
    # (own, hint, the condition's tokens [B, m, d], scale) -> [B, count, d] that are attended to
    # behind these, wherever the scale is not 0
    append: Callable[[Params, Any, Array, Any], Array] | None = None
    count: int = 0  # of what `append` gives


class LatentClassifier(NamedTuple):
    """A classifier of noised latents, as functions over params = {"first_stage", "classifier"}."""

    init: Callable[[Array], Params]  # key -> params of "classifier"
    # (params, z [B, h, w, c] of size one, timestep [B]) -> logits [B, classes]
    network: Callable[..., Array]
    first_stage: FirstStage
    process: Process
