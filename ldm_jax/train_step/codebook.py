"""How codes learn from what is rounded to them, and how that is watched."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp

from ldm_jax.autoencoders import quantizer
from ldm_jax.settings import Decay, Fraction, NotNegative
from ldm_jax.train_step.state import Average, unchanged
from ldm_jax.types import Array, Metrics, Params


@dataclass(frozen=True)
class Codebook:
    """How the codes of a VQ first stage learn."""

    update: Literal["gradient", "ema"] = "gradient"  # ema: moving means of what rounds to a code
    decay: Decay = 0.99  # of the moving averages of means and of use
    weight: NotNegative = 1.0  # of |code - sg[latent]|^2, with gradient
    commitment: NotNegative = 0.25  # weight of |latent - sg[code]|^2
    # share of equal use below which a code moves to a latent; 0: never
    revive_below: Fraction = 0.0


def init_statistics(config: Codebook, params: Params) -> Params:
    """{"statistics"} where codes are counted; {} where gradients alone move them."""
    if config.update == "gradient" and not config.revive_below:
        return {}
    return {"statistics": quantizer.new_statistics(params["quantizer"]["embedding"])}


def learn_codes(
    config: Codebook,
    params: Params,
    latents: Array,
    codes: Array,
    position: Array,
    key: Array,
    average: Average,
) -> tuple[Metrics, Callable[[Params], Params]]:
    """Metrics of this batch's codes, and the change to "quantizer" and "statistics" in params.

    Args:
        latents: [B, h, w, c] before they are rounded to `codes` [B, h, w].
        position: [B], of each example in the global batch.
    """
    size = len(params["quantizer"]["embedding"])
    batch = average(quantizer.batch_statistics(latents, codes, size))
    metrics = {
        "perplexity": quantizer.perplexity(batch["use"]),
        "codes_used": jnp.mean(batch["use"] > 0),
    }
    if "statistics" not in params:
        return metrics, unchanged
    statistics = quantizer.moving(config.decay, params["statistics"], batch)
    spare = None
    if config.revive_below:
        spare = quantizer.candidates(key, latents, position, size, average)

    def change(parts: Params) -> Params:
        """Run for params, which hold the statistics, and for their average, which does not."""
        if "quantizer" not in parts:
            return parts
        ema, kept = config.update == "ema", statistics
        codebook = quantizer.means(statistics) if ema else parts["quantizer"]["embedding"]
        if spare is not None:
            codebook, kept = quantizer.revive(codebook, statistics, spare, config.revive_below)
        changed = {"quantizer": {"embedding": codebook}, "statistics": kept}
        return {**parts, **{name: x for name, x in changed.items() if name in parts}}

    return metrics, change
