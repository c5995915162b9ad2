"""Optimizers and learning-rate schedules."""

import optax

from ldm_jax.config import Optim


def learning_rate(config: Optim, steps: int) -> optax.Schedule:
    """The learning rate as a function of the update, counted from 0; never scaled by batch size."""
    after = {
        "constant": optax.constant_schedule(config.lr),
        "cosine": optax.cosine_decay_schedule(config.lr, max(1, steps - config.warmup)),
    }[config.schedule]
    if not config.warmup:
        return after
    warmup = optax.linear_schedule(config.lr / config.warmup, config.lr, config.warmup - 1)
    return optax.join_schedules([warmup, after], [config.warmup])


def optimizer(
    config: Optim, steps: int, trained: tuple[str, ...] = ()
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019), gradients clipped by global norm where asked.

    Args:
        trained: the parts that train; a "discriminator" among them is clipped on its own.
    """
    adamw = optax.adamw(
        learning_rate(config, steps), config.b1, config.b2, weight_decay=config.weight_decay
    )
    if config.clip is None:
        return adamw
    clipped = optax.chain(optax.clip_by_global_norm(config.clip), adamw)

    if "discriminator" not in trained:
        return clipped

    def side(parts):
        return {name: "adversary" if name == "discriminator" else "others" for name in parts}

    return optax.partition({"adversary": clipped, "others": clipped}, side)
