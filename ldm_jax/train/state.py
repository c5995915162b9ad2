"""The state of training and the one update that every objective shares."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from ldm_jax.types import Array, Batch, Metrics, Params, TrainState

# (params, batch, keys [B]) -> (scalar loss, metrics), both averaged over the batch
Loss = Callable[[Params, Batch, Array], tuple[Array, Metrics]]


def new_state(
    params: Params, optimizer: optax.GradientTransformation, trained: tuple[str, ...]
) -> TrainState:
    """The state before the first update.

    Args:
        params: a dict of named parts, such as {"denoiser", "conditioner", "first_stage"}.
        trained: the parts that training changes; the others are carried along as they are.
    """
    chosen = {name: params[name] for name in trained}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema=jax.tree.map(jnp.copy, chosen),  # a copy: both are donated to the next step
        opt_state=optimizer.init(chosen),
    )


def averaged_params(state: TrainState) -> Params:
    """The weights to use: the moving average of what was trained, the rest as it is."""
    return {**state.params, **state.ema}


def ema_decay(decay: float, step: Array) -> Array:
    """The original's warm-up: min(decay, (1 + n) / (10 + n)) after n updates."""
    n = step.astype(jnp.float32)
    return jnp.minimum(decay, (1.0 + n) / (10.0 + n))


def make_train_step(
    loss: Loss, optimizer: optax.GradientTransformation, trained: tuple[str, ...], decay: float
) -> Callable:
    """A pure function (state, batch, key, average) -> (state, metrics).

    `average` is how a value is averaged over the devices; `sharding.py` supplies it. The batch
    names each example's `position` [B] in the global batch, and its randomness follows from
    (key, step, position) alone: no way of spreading the batch changes what an example draws.
    """

    def train_step(state: TrainState, batch: Batch, key: Array, average: Callable):
        step_key = jax.random.fold_in(key, state.step)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(step_key, batch["position"])
        chosen = {name: state.params[name] for name in trained}

        def objective(chosen):
            return loss({**state.params, **chosen}, batch, keys)

        (_, metrics), gradients = jax.value_and_grad(objective, has_aux=True)(chosen)
        gradients, metrics = average((gradients, metrics))
        updates, opt_state = optimizer.update(gradients, state.opt_state, chosen)
        chosen = optax.apply_updates(chosen, updates)
        d = ema_decay(decay, state.step + 1)
        state = TrainState(
            step=state.step + 1,
            params={**state.params, **chosen},
            ema=jax.tree.map(lambda mean, new: d * mean + (1.0 - d) * new, state.ema, chosen),
            opt_state=opt_state,
        )
        return state, {**metrics, "gradient_norm": optax.tree.norm(gradients)}

    return train_step
