"""The discriminator's part in a step of the first stage (Esser et al. 2021, section 3.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.losses import adversarial
from ldm_jax.losses.patchgan import patchgan
from ldm_jax.settings import AtLeast1, NotNegative, NotNegativeInt
from ldm_jax.train_step.state import Average
from ldm_jax.types import Array, Metrics, Params


@dataclass(frozen=True)
class Adversary:
    """A patch discriminator of images and reconstructions (Isola et al. 2017)."""

    weight: NotNegative = 0.0  # 0: none
    start: NotNegativeInt = 50_001  # the step from which on it takes part
    loss: Literal["hinge", "vanilla", "non_saturating"] = "hinge"  # of the discriminator
    adaptive: bool = True  # times |gradient of the rest| / |its gradient| at the last layer
    channels: AtLeast1 = 64  # of its first layer
    layers: AtLeast1 = 3  # convolutions with stride 2
    r1_weight: NotNegative = 0.0  # of the gradient penalty on images (Mescheder et al. 2018)
    lecam_weight: NotNegative = 0.0  # of the regularisation by Tseng et al. 2021


GAMES = {
    "hinge": adversarial.hinge,
    "vanilla": adversarial.vanilla,
    "non_saturating": adversarial.non_saturating,
}
LECAM_DECAY = 0.99


def init_adversary(config: Adversary, key: Array) -> Params:
    """{"discriminator"}, and {"lecam"} where it is used; {} where there is no adversary."""
    if not config.weight:
        return {}
    params = {"discriminator": patchgan(config.channels, config.layers).init(key)}
    if config.lecam_weight:
        params["lecam"] = {"real": jnp.zeros(()), "fake": jnp.zeros(())}
    return params


class Played(NamedTuple):
    """by_fake: gradient of the generator's loss by the reconstructions, [B, H, W, 3]
    gradient:  of the discriminator's loss by its weights; 0 before it takes part
    changes:   the new {"lecam"}, or {}
    """

    by_fake: Array
    gradient: Params
    changes: Params
    metrics: Metrics


def play(
    config: Adversary, params: Params, image: Array, fake: Array, step: Array, average: Average
) -> Played:
    """Gradients of generator and discriminator by images and reconstructions [B, H, W, 3]."""
    logits = patchgan(config.channels, config.layers, average).logits
    game = GAMES[config.loss]
    fake = jax.lax.stop_gradient(fake)
    takes_part = step >= config.start

    def generator(fake):
        return game.generator(logits(params["discriminator"], fake))

    def discriminator(weights):
        of_real, of_fake = logits(weights, image), logits(weights, fake)
        loss = game.discriminator(of_real, of_fake)
        metrics = {
            "discriminator": loss,
            "logits_real": jnp.mean(of_real),
            "logits_fake": jnp.mean(of_fake),
        }
        if config.r1_weight:
            metrics["r1"] = adversarial.r1(lambda x: logits(weights, x), image)
            loss += config.r1_weight * metrics["r1"]
        if config.lecam_weight:
            metrics["lecam"] = adversarial.lecam(of_real, of_fake, params["lecam"])
            loss += config.lecam_weight * metrics["lecam"]
        return loss, metrics

    loss, by_fake = jax.value_and_grad(generator)(fake)
    gradient, metrics = jax.grad(discriminator, has_aux=True)(params["discriminator"])
    gradient = jax.tree.map(lambda x: jnp.where(takes_part, x, 0.0), gradient)
    changes = {}
    if config.lecam_weight:
        means = average({"real": metrics["logits_real"], "fake": metrics["logits_fake"]})

        def moved(old, new):
            return jnp.where(takes_part, LECAM_DECAY * old + (1.0 - LECAM_DECAY) * new, old)

        changes = {"lecam": jax.tree.map(moved, params["lecam"], means)}
    return Played(by_fake, gradient, changes, {"generator": loss, **metrics})


def weight_at(
    config: Adversary, step: Array, at_last_layer: Callable, by_rest: Array, by_fake: Array
) -> Array:
    """The weight of the generator's loss (Esser et al. 2021, eq. 7).

    Args:
        at_last_layer: gradient by the reconstructions -> gradient by the decoder's last kernel.
        by_rest, by_fake: gradients of the rest of the loss, and of the generator's.
    """
    weight = jnp.where(step >= config.start, config.weight, 0.0)
    if config.adaptive:
        rest, own = at_last_layer(by_rest), at_last_layer(by_fake)
        weight *= adversarial.adaptive_weight(rest, own)
    return weight
