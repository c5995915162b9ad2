"""Sampling some steps at a time: what is expected can be looked at, and sampling stopped."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from ldm_jax.diffusion.samplers.loop import advance
from ldm_jax.sampling.generate import NO_EXTRAS, OWN, Guide, Shown, beginning, decoded
from ldm_jax.types import Array, DiffusionModel, Sampler


class Trajectory(NamedTuple):
    """A batch on its way.

    advance: (first, last) takes steps first to last - 1; called in order, from 0 on
    preview: () -> images [B, H, W, 3] in [-1, 1] of the x0 that the last step predicted
    finish:  () -> the images at its end
    """

    advance: Callable[[int, int], None]
    preview: Callable[[], Array]
    finish: Callable[[], Array]


def make_stepwise(
    model: DiffusionModel,
    sampler: Callable[..., Sampler],
    size: int | tuple[int, int],
    schedule: str = "constant",
    shown: Shown = OWN,
    guides: Sequence[Guide] = (),
) -> Callable[..., Trajectory]:
    """`make_generate`, whose function gives a `Trajectory` in place of its images.

    Three programs are compiled: of the start, of any number of steps, and of decoding. Conditions
    are encoded again in each call of `advance`.
    """
    begin = beginning(model, sampler, size, schedule, guides)

    @jax.jit
    def start(*given):
        solver, _, z, _ = begin(*given)
        return z, solver.init(z)

    @jax.jit
    def steps(given, z, state, first, last):
        solver, guided, _, keys = begin(*given)
        part = z, state, first, last
        return advance(solver, guided, model.process, given[3], keys, part)

    @jax.jit
    def decode(params, z, extras):
        return decoded(model, shown, params, z, extras)

    def trajectory(params, inputs, seeds, grid, guidance, options, noise=None, extras=NO_EXTRAS):
        given = params, inputs, seeds, grid, guidance, options, noise, extras
        z, state = start(*given)
        x0 = z

        def onwards(first: int, last: int) -> None:
            nonlocal z, state, x0
            z, state, x0 = steps(given, z, state, first, last)

        return Trajectory(
            onwards, lambda: decode(params, x0, extras), lambda: decode(params, z, extras)
        )

    return trajectory
