"""Averages of weights whose length is chosen after training (Karras et al. 2024, EDM2, section 3).

An average by a power of time, with weights theta(tau) of step tau,

    theta_gamma(t) = (gamma + 1) / t^(gamma + 1)  integral_0^t tau^gamma theta(tau) dtau     (eq. 2)

is kept by theta_gamma(t) = beta theta_gamma(t - 1) + (1 - beta) theta(t), where beta =
(1 - 1/t)^(gamma + 1) (eq. 3): it begins with the first step's weights and needs no warm-up. Its
length is given as sigma_rel, the standard deviation of its profile, as a share of training:

    sigma_rel = (gamma + 1)^(1/2) (gamma + 2)^(-1) (gamma + 3)^(-1/2)                (eq. 4)

A sum of a few such averages, saved on the way, is close to the average of any other length: its
profile, its weights over time, is the nearest in the least-squares sense (appendix C).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.types import Array, Params, TrainState


def gamma_of(sigma_rel: float) -> float:
    """The power whose average has a relative width of `sigma_rel`, below 0.2886 (gamma = 0).

    The largest root of (g + 2)^2 (g + 3) = (g + 1) / sigma_rel^2.
    """
    t = sigma_rel**-2
    return float(np.roots([1.0, 7.0, 16.0 - t, 12.0 - t]).real.max())


def sigma_of(gamma: float) -> float:
    """The relative width of the average by a power."""
    return (gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5)


def name(sigma_rel: float) -> str:
    """What an average of this width is called in a state, such as "0.050"."""
    return f"{sigma_rel:.3f}"


def beta(gamma: float, step: Array) -> Array:
    """How much of the average before `step` (from 1 on) stays."""
    return (1.0 - 1.0 / step.astype(jnp.float32)) ** (gamma + 1.0)


def with_averages(state: TrainState, sigmas: Sequence[float]) -> TrainState:
    """The state before the first step, with averages of these widths.

    They are of the parts of which it keeps an average already.
    """
    return state.replace(power={name(x): jax.tree.map(jnp.copy, state.ema) for x in sigmas})


def keeping(step: Callable, sigmas: Sequence[float]) -> Callable:
    """A train step that also keeps averages of these widths.

    Args:
        step: (state, frozen, batch, ...) -> (state, metrics).
    """
    if not sigmas:
        return step
    gammas = {name(sigma): gamma_of(sigma) for sigma in sigmas}

    def averaging_step(state, *rest):
        new, metrics = step(state.replace(power={}), *rest)
        weights = {part: new.params[part] for part in new.ema}

        def update(gamma, average):
            b = beta(gamma, new.step)
            return jax.tree.map(lambda mean, x: b * mean + (1.0 - b) * x, average, weights)

        power = {key: update(gammas[key], average) for key, average in state.power.items()}
        return new.replace(power=power), metrics

    return averaging_step


def profile_product(gamma_a: Any, t_a: Any, gamma_b: Any, t_b: Any) -> np.ndarray:
    """The inner product of two averages' profiles, (gamma + 1) tau^gamma / t^(gamma + 1) to t.

    (g_a + 1) (g_b + 1) m^(g_a + g_b + 1) / ((g_a + g_b + 1) t_a^(g_a + 1) t_b^(g_b + 1)), where
    m = min(t_a, t_b); by ratios, so that large powers of many steps are numbers.
    """
    shorter = np.minimum(t_a, t_b)
    ratio = (shorter / t_a) ** gamma_a * (shorter / t_b) ** gamma_b / np.maximum(t_a, t_b)
    return (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * ratio


def solve(gammas: Sequence[float], steps: Sequence[float], gamma: float, step: float) -> np.ndarray:
    """How much of each saved average, of `gammas` at `steps`, makes the one of `gamma` at `step`.

    Least squares between profiles: A x = b of their inner products.
    """
    products = _products([*gammas, gamma], [*steps, step])
    return np.linalg.lstsq(products[:-1, :-1], products[:-1, -1], rcond=1e-12)[0]


def unlikeness(gammas: Sequence[float], steps: Sequence[float], gamma: float, step: float) -> float:
    """How far the nearest sum is from what is wanted: |difference| / |wanted| of the profiles."""
    products = _products([*gammas, gamma], [*steps, step])
    x = np.append(solve(gammas, steps, gamma, step), -1.0)
    return float(np.sqrt(max(0.0, x @ products @ x) / products[-1, -1]))


def _products(gammas: Sequence[float], steps: Sequence[float]) -> np.ndarray:
    """Of each pair of averages."""
    g, t = np.asarray(gammas, np.float64), np.asarray(steps, np.float64)
    return profile_product(g[:, None], t[:, None], g, t)


def total(averages: Sequence[Params], weights: np.ndarray) -> Params:
    """A sum of averages, in double precision, as float32 numpy arrays."""

    def add(*leaves):
        terms = (w * np.asarray(x, np.float64) for w, x in zip(weights, leaves, strict=True))
        return np.asarray(sum(terms), np.float32)

    return jax.tree.map(add, *averages)
