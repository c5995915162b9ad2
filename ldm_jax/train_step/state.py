"""The state of training and the one update that every objective shares."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ldm_jax.types import Array, Batch, Metrics, Params, TrainState

# (params, batch, keys [B]) -> (scalar loss, metrics), both averaged over the batch
Loss = Callable[[Params, Batch, Array], tuple[Array, Metrics]]
Average = Callable  # tree of arrays -> their averages over the devices


def unchanged(parts: Params) -> Params:
    """Leaves parts of params as the optimizer made them."""
    return parts


class Measurement(NamedTuple):
    """What is measured beside the loss.

    every: steps; 0: nothing is
    names: of the values
    of:    state -> values by name; changes nothing that training goes on with
    """

    every: int = 0
    names: tuple[str, ...] = ()
    of: Callable[[TrainState], dict[str, float]] = lambda state: {}


class Outcome(NamedTuple):
    """An objective's results for one batch, the same on every device.

    gradients: of the trained parts
    changes:   any parts of params -> the same parts with what changes otherwise than by gradients,
               such as moving means; applied after the update, to params and to their average
    """

    gradients: Params
    metrics: Metrics
    changes: Callable[[Params], Params] = unchanged


class Objective(NamedTuple):
    """What training makes smaller, and by changing what.

    trained:  the parts of params that gradients change
    averaged: those among them of which a moving average is kept
    outcome:  (params, batch, key of the step, step, average) -> Outcome; where a batch is cut into
              parts that follow one another, it is the same
    helpers:  the parts that change otherwise than by gradients; all others are frozen
    """

    trained: tuple[str, ...]
    averaged: tuple[str, ...]
    outcome: Callable[[Params, Batch, Array, Array, Average], Outcome]
    helpers: tuple[str, ...] = ()

    def frozen(self, params: Params) -> tuple[str, ...]:
        """The names of the parts of params that training does not change."""
        return tuple(sorted(params.keys() - {*self.trained, *self.helpers}))


def example_keys(key: Array, batch: Batch) -> Array:
    """A key an example, [B], that follows from its position in the global batch alone."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, batch["position"])


def all_gather(x: Array, position: Array, size: int, average: Average) -> Array:
    """Values of the examples of all devices, [b, ...] -> [size, ...].

    Each device puts its own at their positions among zeros, and the sum over the devices is all.
    The gradient is summed over devices: where each computes the same loss of all, the mean of their
    gradients is that of one device with all examples.

    Args:
        position: [b], of each example in the global batch of `size`.
    """
    placed = jnp.zeros((size, *x.shape[1:])).at[position].set(x)
    found = average(placed) * (size / len(x))
    return jnp.round(found).astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.integer) else found


def minimise(loss: Loss, trained: tuple[str, ...], parts: int = 1) -> Objective:
    """One loss, made smaller by all the trained parts together.

    Args:
        parts: into how many a batch is cut; gradients are those of all of it.
    """

    def outcome(params, batch, key, step, average):
        chosen = {name: params[name] for name in trained}

        def of_part(part):
            def of_trained(chosen):
                return loss({**params, **chosen}, part, example_keys(key, part))

            (_, metrics), gradients = jax.value_and_grad(of_trained, has_aux=True)(chosen)
            return (gradients, metrics), ()

        return Outcome(*average(in_parts(of_part, batch, parts)[0]))

    return Objective(trained, trained, outcome)


def in_parts(function: Callable, batch: Any, count: int) -> tuple[Any, Any]:
    """Calls a function on parts of a batch, one after the other, so that only one is in memory.

    Args:
        function: part of the batch -> (a tree of means over the part's examples, a tree of one
            entry an example, [b / count, ...]).
        batch: a tree of arrays [b, ...].
        count: of parts; divides b.

    Returns:
        (the means over all examples, the entries of all examples in their order, [b, ...]).
    """
    if count == 1:
        return function(batch)
    parts = _cut(batch, count)
    shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], parts))[0]

    def add(sums, part):
        means, entries = function(part)
        return jax.tree.map(lambda total, x: total + x / count, sums, means), entries

    none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    means, entries = jax.lax.scan(add, none, parts)
    return means, _joined(entries)


def each_part(function: Callable, batch: Any, count: int) -> Any:
    """The same for a function that returns entries alone, and is differentiated.

    Activations are computed again in the backward pass, part by part.
    """
    if count == 1:
        return function(batch)
    return _joined(jax.lax.map(jax.checkpoint(function), _cut(batch, count)))


def _cut(batch: Any, count: int) -> Any:
    """[b, ...] -> [count, b / count, ...]; part i has the examples i, i + count, ...

    So each part has as many from every device, and none moves.
    """
    return jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, count, *x.shape[1:]), 0, 1), batch)


def _joined(parts: Any) -> Any:
    """The inverse of `_cut`."""
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), parts)


def new_state(
    params: Params, optimizer: optax.GradientTransformation, objective: Objective
) -> TrainState:
    """The state before the first update.

    Args:
        params: a dict of named parts, such as {"denoiser", "conditioner", "first_stage"}.
    """
    averaged = {name: params[name] for name in objective.averaged}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema=jax.tree.map(jnp.copy, averaged),  # a copy: both are donated to the next step
        opt_state=optimizer.init({name: params[name] for name in objective.trained}),
    )


def averaged_params(state: TrainState) -> Params:
    """The weights to use: the moving averages where they are kept, the rest as it is."""
    return {**state.params, **state.ema}


def apart(state: TrainState, names: Sequence[str]) -> tuple[TrainState, Params]:
    """A state without the parts of these names, and these parts."""
    changing = {name: part for name, part in state.params.items() if name not in names}
    return state.replace(params=changing), {name: state.params[name] for name in names}


def joined(state: TrainState, frozen: Params) -> TrainState:
    """The state with its frozen parts among its params; the inverse of `apart`."""
    return state.replace(params={**state.params, **frozen})


def ema_decay(decay: float, step: Array) -> Array:
    """The original's warm-up: min(decay, (1 + n) / (10 + n)) after n updates."""
    n = step.astype(jnp.float32)
    return jnp.minimum(decay, (1.0 + n) / (10.0 + n))


def make_train_step(
    objective: Objective, optimizer: optax.GradientTransformation, decay: float
) -> Callable:
    """A pure function (state, frozen, batch, key, average, gather) -> (state, metrics).

    `frozen` holds the parts of params that training does not change.
    `average` is how a value is averaged over the devices, and `gather` how params that are kept in
    parts come together to be computed with; `sharding.py` supplies both. The batch
    names each example's `position` [B] in the global batch, and its randomness follows from
    (key, step, position) alone: no mesh changes what an example draws.
    """

    def train_step(
        state: TrainState,
        frozen: Params,
        batch: Batch,
        key: Array,
        average: Average,
        gather: Callable[[Params], Params] = unchanged,
    ):
        step_key = jax.random.fold_in(key, state.step)
        whole = gather({**state.params, **frozen})
        found = objective.outcome(whole, batch, step_key, state.step, average)
        chosen = {name: state.params[name] for name in objective.trained}
        updates, opt_state = optimizer.update(found.gradients, state.opt_state, chosen)
        params = {**state.params, **optax.apply_updates(chosen, updates)}
        d = ema_decay(decay, state.step + 1)
        new = {name: params[name] for name in state.ema}
        # d mean + (1 - d) new; so written, what does not change stays as it is bit for bit
        ema = jax.tree.map(lambda mean, new: mean + (1.0 - d) * (new - mean), state.ema, new)
        state = TrainState(
            step=state.step + 1,
            params=found.changes(params),
            ema=found.changes(ema),
            opt_state=opt_state,
        )
        return state, {**found.metrics, "gradient_norm": optax.tree.norm(found.gradients)}

    return train_step
