"""Optimizers and learning-rate schedules, all of optax."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, muon

from ldm_jax.runtime.sharding import name_of
from ldm_jax.settings import Decay, Fraction, NotNegative, NotNegativeInt, Positive, Range
from ldm_jax.types import Array

Widths = Annotated[
    tuple[float, ...],
    Range(
        "widths of more than 0 and less than 0.288, such as 0.05 0.1",
        lambda x: all(0 < width < 0.288 for width in x),
    ),
]


@dataclass(frozen=True)
class Optim:
    """The optimizer, its learning rate, and a moving average of the weights.

    The learning rate is used as it is, whatever the batch, the devices or `accumulate`.
    """

    kind: Literal["adamw", "lion", "adafactor", "muon"] = "adamw"  # the optimizer
    lr: Positive = 1e-4  # learning rate
    # after the warm-up: as it is, to 0 at the last step by a half cosine or a line, or with the
    # square root of warmup / step
    schedule: Literal["constant", "cosine", "linear", "inverse_sqrt"] = "constant"
    warmup: NotNegativeInt = 0  # steps
    b1: Decay = 0.9  # decay of the mean of gradients; adafactor keeps none where it is 0
    b2: Decay = 0.999  # of their squares; lion's authors have 0.99, adafactor has a rule of its own
    eps: Positive = 1e-8  # of adamw, added to the root of the mean of squares
    weight_decay: NotNegative = 0.0  # decoupled; 0: none
    # what decays: all that trains, or what has at least two axes: neither gains, biases nor scalars
    decays: Literal["all", "matrices"] = "all"
    clip: Positive | None = 1.0  # largest global norm of the gradient
    # a regular expression: of what trains, only arrays in whose name (denoiser/mid_attn/...) it is
    # found do; None: all
    train_only: str | None = None
    ema_decay: Fraction = 0.9999
    # further averages, of these relative widths, of which scripts/ema.py makes those of any width
    power_ema: Widths = ()


def learning_rate(config: Optim, steps: int) -> optax.Schedule:
    """The learning rate as a function of the update, counted from 0; never scaled by batch size."""
    left = max(1, steps - config.warmup)
    after = {
        "constant": optax.constant_schedule(config.lr),
        "cosine": optax.cosine_decay_schedule(config.lr, left),
        "linear": optax.linear_schedule(config.lr, 0.0, left),
        "inverse_sqrt": _inverse_sqrt(config.lr, max(1, config.warmup)),
    }[config.schedule]
    if not config.warmup:
        return after
    warmup = optax.linear_schedule(config.lr / config.warmup, config.lr, config.warmup - 1)
    return optax.join_schedules([warmup, after], [config.warmup])


def _inverse_sqrt(lr: float, warmup: int) -> optax.Schedule:
    """lr sqrt(warmup / n) at the n-th update of all, n > warmup (Vaswani et al. 2017, eq. 3)."""
    return lambda count: lr * jnp.sqrt(warmup / (warmup + count + 1.0))


def optimizer(
    config: Optim, steps: int, trained: tuple[str, ...] = ()
) -> optax.GradientTransformation:
    """The optimizer of a config, gradients clipped by global norm where the config has it.

    Args:
        trained: the parts that train; a "discriminator" among them is clipped on its own.
    """
    kinds = {"adamw": _adamw, "lion": _lion, "adafactor": _adafactor, "muon": _muon}
    made = kinds[config.kind](config, learning_rate(config, steps))
    if config.clip is not None:
        made = optax.chain(optax.clip_by_global_norm(config.clip), made)
    if config.clip is not None and "discriminator" in trained:
        both = {"adversary": made, "others": made}
        made = optax.partition(
            both,
            lambda x: {part: "adversary" if part == "discriminator" else "others" for part in x},
        )
    if config.train_only is None:
        return made

    def side(params):
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "trained" if is_trained(config, path) else "frozen", params
        )

    return optax.partition({"trained": made, "frozen": optax.set_to_zero()}, side)


def is_trained(config: Optim, path: tuple) -> bool:
    """Whether the array at a path of the tree of parameters changes, if its part trains."""
    return config.train_only is None or bool(re.search(config.train_only, name_of(path)))


def _decaying(config: Optim) -> Callable | None:
    """params -> which of them decay; None: all."""
    if config.decays == "all":
        return None
    return lambda params: jax.tree.map(lambda x: x.ndim > 1, params)


def _adamw(config: Optim, rate: optax.Schedule) -> optax.GradientTransformation:
    """Loshchilov and Hutter 2019."""
    return optax.adamw(
        rate,
        config.b1,
        config.b2,
        config.eps,
        weight_decay=config.weight_decay,
        mask=_decaying(config),
    )


def _lion(config: Optim, rate: optax.Schedule) -> optax.GradientTransformation:
    """Chen et al. 2023; its authors take a third to a tenth of AdamW's rate."""
    return optax.lion(
        rate, config.b1, config.b2, weight_decay=config.weight_decay, mask=_decaying(config)
    )


def _adafactor(config: Optim, rate: optax.Schedule) -> optax.GradientTransformation:
    """Shazeer and Stern 2018, algorithm 4: second moments as a row and a column.

    Its step is not scaled by the size of the params, so that the rate is that of the config, and
    the weights decay as AdamW's do. The mean of gradients is that of updates.
    """
    return optax.chain(
        optax.scale_by_factored_rms(),
        optax.clip_by_block_rms(1.0),
        optax.ema(config.b1) if config.b1 else optax.identity(),
        optax.add_decayed_weights(config.weight_decay, _decaying(config)),
        optax.scale_by_learning_rate(rate),
    )


def _muon(config: Optim, rate: optax.Schedule) -> optax.GradientTransformation:
    """Jordan 2024, with updates as large as AdamW's, so that one rate is for both (Liu et al. 2025,
    eq. 4). AdamW has what is no matrix, and the first and the last convolution."""

    def side(params):
        return jax.tree_util.tree_map_with_path(
            lambda path, x: "matrices" if _is_matrix(path, x) else "others", params
        )

    def numbers(params):  # a convolution is a matrix [h w inputs, outputs]
        return jax.tree.map(
            lambda x: MuonDimensionNumbers(tuple(range(x.ndim - 1)), x.ndim - 1), params
        )

    matrices = muon(
        rate,
        weight_decay=config.weight_decay,
        muon_weight_dimension_numbers=numbers,
        consistent_rms=0.2,
    )
    return optax.partition({"matrices": matrices, "others": _adamw(config, rate)}, side)


def _is_matrix(path: tuple, x: Array) -> bool:
    """Whether an array is an inner layer's kernel, and not a norm, a bias or an embedding."""
    name = name_of(path)
    inner = re.fullmatch(r".*/kernel", name) and not re.fullmatch(r".*/conv_(in|out)/.*", name)
    return bool(inner) and x.ndim > 1
