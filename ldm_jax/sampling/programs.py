"""Sampling as four programs, each of which can be compiled ahead of time.

condition: (params of the conditioner, inputs)                    -> Cond, as a dict
start:     (seeds [B], time)                                      -> z, keys, the sampler's state
step:      (params of the denoiser, (Cond with the inputs, Cond without), z, keys, state,
            (k, t, s), guidance, options)                         -> z at time s < t, state
decode:    (params of the first stage, z)                         -> images [B, H, W, 3] in [-1, 1]

They compute what `generate` does as one program. Their arguments and results are arrays, and
dicts and lists of such, so that a program may outlive the classes of this package.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.guidance.classifier_free import classifier_free
from ldm_jax.diffusion.guidance.joint import joint
from ldm_jax.diffusion.guidance.scale import constant
from ldm_jax.diffusion.samplers.loop import normal_like
from ldm_jax.types import Array, Batch, Cond, DiffusionModel, Params, Sampler


class Programs(NamedTuple):
    """See above; each is a pure function."""

    condition: Callable[..., dict[str, Array]]
    start: Callable[..., tuple[Array, Array, list[Array]]]
    step: Callable[..., tuple[Array, list[Array]]]
    decode: Callable[..., Array]


def make_programs(
    model: DiffusionModel, sampler: Callable[..., Sampler], options: Any, size: tuple[int, int]
) -> Programs:
    """The four programs of a model that is conditioned on captions, labels or nothing.

    Args:
        sampler: options -> Sampler, such as those of `diffusion.samplers.names`.
        options: of the sampler, by name; of which `step` takes the numbers, as a list.
        size: height and width of the images.
    """
    process, stage = model.process, model.first_stage
    shape = (size[0] // stage.factor, size[1] // stage.factor, stage.channels)
    form = jax.tree.structure(options)
    state_form = jax.tree.structure(jax.eval_shape(sampler(**options).init, jnp.zeros((1, *shape))))

    def condition(params: Params, inputs: Batch) -> dict[str, Array]:
        cond = vars(model.conditioner.apply(params, inputs))
        return {name: x for name, x in cond.items() if x is not None}

    def start(seeds: Array, time: Array) -> tuple[Array, Array, list[Array]]:
        keys = jax.vmap(jax.random.split)(jax.vmap(jax.random.key)(seeds))
        noise = normal_like(keys[:, 0], jnp.zeros((len(seeds), *shape)))
        z = process.initial_noise_std(time) * noise
        solver = jax.random.key_data(keys[:, 1])
        return z, solver, jax.tree.leaves(sampler(**options).init(z))

    def step(params, conds, z, keys, state, times, guidance, options):
        conditional, unconditional = (Cond(**cond) for cond in conds)

        def network(z, timestep, cond=conditional):
            return model.denoise({"denoiser": params}, z, timestep, cond)

        guided = denoiser(network, process, model.prediction)
        if model.conditioner.keys:
            both = joint(network, (unconditional, conditional), process, model.prediction)
            guided = classifier_free(guided, both, constant(guidance))
        k, *times = times
        t, s = (jnp.full(len(z), time) for time in times)
        keys = jax.vmap(jax.random.fold_in, (0, None))(jax.random.wrap_key_data(keys), k)
        solver = sampler(**jax.tree.unflatten(form, options))
        state = jax.tree.unflatten(state_form, state)
        z, state = solver.step(guided, process, keys, z, t, s, state)
        return z, jax.tree.leaves(state)

    def decode(params: Params, z: Array) -> Array:
        return jnp.clip(stage.decode(params, z), -1.0, 1.0)

    return Programs(condition, start, step, decode)
