"""The objective of CLIP: each image of a batch is to find its caption (Radford et al. 2021).

The loss is of the whole batch, wherever its examples are: what each device has embedded is gathered
on all, and every one of them finds the loss and the gradients of one device that had them all.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ldm_jax.encoders.clip.model import CLIP, embed_captions, embed_images, init, unit
from ldm_jax.encoders.clip.vision import normalised
from ldm_jax.losses.contrastive import contrastive
from ldm_jax.settings import AtLeastOne, Positive
from ldm_jax.train_step.state import Objective, Outcome, all_gather, each_part
from ldm_jax.types import Array, Params


@dataclass(frozen=True)
class ContrastiveLoss:
    """The symmetric loss of pairs; logits are cosines times a scale that is learned."""

    temperature: Positive = 0.07  # at the start, one over the scale (Wu et al. 2018)
    max_scale: AtLeastOne = 100.0  # of logits


def init_clip(model: CLIP, config: ContrastiveLoss, key: Array) -> Params:
    """Params of the part "clip": both encoders and the logarithm of the scale of logits."""
    scale = jnp.log(1.0 / jnp.float32(config.temperature))
    return {"clip": {**init(model, key), "log_scale": scale}}


def contrastive_objective(
    model: CLIP, config: ContrastiveLoss, batch_size: int, parts: int = 1
) -> Objective:
    """The objective of both encoders and the temperature.

    Args:
        batch_size: examples of a step, over all devices and hosts.
        parts: into how many a batch is cut, one after the other in memory; the loss is of all.
    """
    most = jnp.log(jnp.float32(config.max_scale))

    def outcome(params, batch, key, step, average):
        def loss(chosen):
            clip = chosen["clip"]

            def embed(part):
                images = normalised((part["image"] + 1.0) / 2.0)
                return (
                    unit(embed_images(model, clip, images)),
                    unit(embed_captions(model, clip, part["tokens"])),
                )

            x, y = (
                all_gather(z, batch["position"], batch_size, average)
                for z in each_part(embed, batch, parts)
            )
            total, logits = contrastive(x, y, jnp.exp(clip["log_scale"]))
            found = jnp.argmax(logits, axis=1) == jnp.arange(batch_size)
            return total, {
                "loss": total,
                "accuracy": jnp.mean(found.astype(jnp.float32)),
                "logit_scale": jnp.exp(clip["log_scale"]),
            }

        chosen = {"clip": params["clip"]}
        (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(chosen)
        return Outcome(*average((gradients, metrics)), _clipped(most))

    return Objective(("clip",), ("clip",), outcome, helpers=("clip",))  # which is clipped


def _clipped(most: Array) -> Callable[[Params], Params]:
    """The scale of logits is kept from growing beyond what trains stably (section 2.5)."""

    def changes(parts: Params) -> Params:
        clip = parts["clip"]
        return {**parts, "clip": {**clip, "log_scale": jnp.minimum(clip["log_scale"], most)}}

    return changes
