"""From a model and adapters to a model, as guidance maps denoisers to a denoiser.

What an adapter adds is multiplied by its scale, which is among the params, so that one compiled
program serves all scales. Several adapters sum.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from ldm_jax.nn.repeat import repeated, summed
from ldm_jax.types import Adapter, Array, Batch, Cond, Conditioner, DiffusionModel, Params

Adapters = Mapping[str, Adapter]
# a number, or (site or layer, timestep [B]) -> a number or [B]: over time, or over the depth
Scale = float | Array | Callable[[str, Array], Array]
Scales = Mapping[str, Scale]
WHOLE: Scales = {}  # all adapters as they were trained, of scale 1


class Window(flax.struct.PyTreeNode):
    """A scale that holds between two timesteps, and is 0 outside them."""

    scale: Array
    first: Array  # of the most noise
    last: Array
    # site -> factor, where not 1
    by_site: Mapping[str, Array] = flax.struct.field(default_factory=dict)

    def __call__(self, site: str, timestep: Array) -> Array:
        inside = (timestep <= self.first) & (timestep >= self.last)
        return self.scale * self.by_site.get(site, 1.0) * inside


def adapted(
    model: DiffusionModel, adapters: Adapters, scales: Scales | None = None
) -> DiffusionModel:
    """The model with adapters, whose params are in params["adapters"] under the same names.

    Of what they change in weights see `merged`.

    Args:
        scales: by name, 1 where there is none; None: those in params["scales"].
    """
    read = [name for adapter in adapters.values() for name in adapter.keys]
    own = set(read) - set(model.conditioner.keys)

    def init(key: Array) -> Params:
        params = model.init(key)
        return {**params, "adapters": init_adapters(adapters, key, params)}

    def condition(params: Params, inputs: Batch) -> Cond:
        cond = model.condition(params, {n: x for n, x in inputs.items() if n not in own})
        hints = {
            name: adapter.encode(
                params["adapters"][name], {key: inputs[key] for key in adapter.keys}
            )
            for name, adapter in adapters.items()
            if adapter.encode
        }
        cond = cond.replace(hints={**(cond.hints or {}), **hints} or None)
        return _appended(cond, adapters, params, _scales(params, scales))

    def denoise(params: Params, z: Array, timestep: Array, cond: Cond) -> Array:
        hints, of = cond.hints or {}, _scales(params, scales)
        cond, plain = _parted(cond, adapters, of, timestep)
        for name, adapter in adapters.items():
            if adapter.signal and (name in hints or adapter.encode is None):
                parts, hint = params["adapters"][name], hints.get(name)
                signal = adapter.signal(parts, hint, z, timestep, plain)
                cond = add(cond, signal, of.get(name, 1.0), timestep)
        rest = {name: hint for name, hint in hints.items() if name not in adapters}
        return model.denoise(params, z, timestep, cond.replace(hints=rest or None))

    return model._replace(
        init=init,
        denoise=denoise,
        condition=condition,
        conditioner=_conditioner(model.conditioner, adapters),
    )


def _scales(params: Params, scales: Scales | None) -> Scales:
    return params.get("scales", WHOLE) if scales is None else scales


def _appended(cond: Cond, adapters: Adapters, params: Params, scales: Scales) -> Cond:
    """The condition with the tokens that adapters append to those that there are."""
    text, more = cond.tokens, []
    for name, adapter in adapters.items():
        if adapter.append:
            scale = scales.get(name, 1.0)
            scale = getattr(scale, "scale", scale)  # of a window
            more.append(adapter.append(params["adapters"][name], cond.hints[name], text, scale))
    return cond.replace(tokens=jnp.concatenate([text, *more], axis=1)) if more else cond


def _parted(cond: Cond, adapters: Adapters, scales: Scales, timestep: Array) -> tuple[Cond, Cond]:
    """The condition whose mask hides appended tokens of adapters that do not count at a timestep,
    and what it is without any adapter."""
    plain = cond.replace(added=None, attention=None, hints=None)
    counts = {name: adapter.count for name, adapter in adapters.items() if adapter.append}
    if not counts:
        return cond, plain
    text = cond.tokens[:, : cond.tokens.shape[1] - sum(counts.values())]
    seen = [jnp.ones(text.shape[:2], bool) if cond.mask is None else cond.mask]
    for name, count in counts.items():
        scale = scales.get(name, 1.0)
        there = jnp.asarray(scale("tokens", timestep) if callable(scale) else scale) != 0
        there = repeated(there, len(text)) if there.ndim else there
        seen.append(jnp.broadcast_to(there[..., None], (len(text), count)))
    return cond.replace(mask=jnp.concatenate(seen, axis=1)), plain.replace(tokens=text)


def init_adapters(adapters: Adapters, key: Array, params: Params) -> Params:
    """The params of adapters, which at first do not change the model that `params` is of."""
    keys = (jax.random.fold_in(key, i) for i in range(len(adapters)))
    return {n: a.init(k, params) for (n, a), k in zip(adapters.items(), keys, strict=True)}


def merged(adapters: Adapters, params: Params, scales: Scales = WHOLE) -> Params:
    """The params of the model with what adapters change in weights, one after the other.

    To be called once before sampling, and inside the loss in training.
    """
    for name, adapter in adapters.items():
        if adapter.weights:
            params = adapter.weights(params["adapters"][name], params, scales.get(name, 1.0))
    return params


def switchable(adapter: Adapter, entry: str) -> Adapter:
    """The adapter with an entry [B] of a batch by which what it adds is multiplied: 1, or 0 for the
    unconditional inputs of guess mode."""

    def null(n: int, h: int, w: int) -> Batch:
        return {**adapter.null(n, h, w), entry: jnp.ones(n)}

    def encode(own: Params, inputs: Batch) -> tuple[Any, Array]:
        return adapter.encode(own, {key: inputs[key] for key in adapter.keys}), inputs[entry]

    def signal(own: Params, hint: Any, z: Array, timestep: Array, cond: Cond) -> Cond:
        inside, on = hint
        found = adapter.signal(own, inside, z, timestep, cond)
        return found.replace(added={site: _times(on, x) for site, x in found.added.items()})

    keys, dropped = (*adapter.keys, entry), (*adapter.dropped, entry)
    return adapter._replace(keys=keys, dropped=dropped, null=null, encode=encode, signal=signal)


def add(cond: Cond, signal: Cond, scale: Scale, timestep: Array) -> Cond:
    """The condition [k B] with what an adapter adds, times its scale."""

    def weight(site: str) -> Array:
        return jnp.asarray(scale(site, timestep) if callable(scale) else scale)

    added, attention = dict(cond.added or {}), dict(cond.attention or {})
    for site, x in (signal.added or {}).items():
        x = _times(weight(site), x)
        added[site] = summed(added[site], x) if site in added else x
    for layer, entries in (signal.attention or {}).items():
        more = tuple((k, v, weight(layer) * one) for k, v, one in entries)
        attention[layer] = (*attention.get(layer, ()), *more)
    return cond.replace(added=added or None, attention=attention or None)


def _times(weight: Array, x: Array) -> Array:
    """A number or [B] times [k B, h, w, C]."""
    if weight.ndim:
        weight = repeated(weight, len(x)).reshape(-1, 1, 1, 1)
    return weight.astype(x.dtype) * x


def _conditioner(base: Conditioner, adapters: Adapters) -> Conditioner:
    """The conditioner that names what adapters read, too."""
    each = adapters.values()
    keys = dict.fromkeys((*base.keys, *(key for adapter in each for key in adapter.keys)))
    dropped = dict.fromkeys((*base.droppable, *(key for a in each for key in a.dropped)))

    def null(n: int, h: int = 1, w: int = 1) -> Batch:
        entries = {}
        for adapter in each:
            entries |= adapter.null(n, h, w)
        return entries | base.null(n, h, w)

    return base._replace(keys=tuple(keys), dropped=tuple(dropped), null=null)
