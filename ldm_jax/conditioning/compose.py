"""Several conditions of one model, joined."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ldm_jax.backbones.settings import BackboneSettings
from ldm_jax.conditioning.condition import BuildContext, Condition, ModelFacts
from ldm_jax.errors import InputError
from ldm_jax.types import Array, Cond, Conditioner, Params
from ldm_jax.weights.names.condition import part


def dropped(conditions: Sequence[Condition]) -> list[Condition]:
    """Those that dropout and guidance drop together: all but those concatenated to latents,
    which are dropped only where there are no others, as in Stable Diffusion."""
    return [one for one in conditions if not one.stays] or list(conditions)


def build(conditions: Sequence[Condition], context: BuildContext) -> Conditioner:
    """The conditioner of all conditions; none: an empty one."""
    each = [one.build(context) for one in conditions]
    if len(each) == 1:
        return each[0]
    chosen = dropped(conditions)
    droppable = [
        name
        for condition, one in zip(conditions, each, strict=True)
        if condition in chosen
        for name in one.droppable
    ]
    return compose(each, context.vector_dim)._replace(dropped=tuple(droppable))


def compose(each: Sequence[Conditioner], vector_dim: int | None = None) -> Conditioner:
    """One conditioner that reads what all read.

    Tokens are joined in sequence, further channels side by side; vectors as well, where together
    they are `vector_dim` wide, or else they are added. Params are those of the first, and those of
    the others that have some under `weights.names.condition.part`.
    """

    def init(key: Array) -> Params:
        params = {}
        for i, one in enumerate(each):
            own = one.init(jax.random.fold_in(key, i) if i else key)
            params |= {part(i): own} if i and own else own
        return params

    def encode(params, inputs):
        found = {}
        for one in each:
            own = {name: inputs[name] for name in one.keys}
            found |= one.encode(params, own) if one.encode else own
        return found

    def apply(params, inputs):
        others = {part(i) for i in range(1, len(each))}
        first = {name: x for name, x in params.items() if name not in others}
        found = [
            one.apply(params.get(part(i), {}) if i else first, inputs) for i, one in enumerate(each)
        ]
        return join(found, vector_dim)

    def null(n, h=1, w=1):
        return {name: x for one in each for name, x in one.null(n, h, w).items()}

    return Conditioner(
        apply=apply,
        null=null,
        keys=tuple(name for one in each for name in one.keys),
        init=init,
        encode=encode if any(one.encode for one in each) else None,
        trained=all(one.trained for one in each),
        known=next((one.known for one in each if one.known), None),
    )


def join(conds: Sequence[Cond], vector_dim: int | None = None) -> Cond:
    """Several conditions as one, see `compose`."""

    def over(name: str, join: Callable[[list[Array]], Array]) -> Array | None:
        found = [getattr(one, name) for one in conds if getattr(one, name) is not None]
        return join(found) if len(found) > 1 else next(iter(found), None)

    def vectors(found: list[Array]) -> Array:
        joined = sum(x.shape[-1] for x in found) == vector_dim
        return jnp.concatenate(found, axis=-1) if joined else sum(found)

    attended = [one for one in conds if one.tokens is not None]
    mask = None
    if any(one.mask is not None for one in attended):  # [B, n], all that is not masked counts
        each = [jnp.ones(x.tokens.shape[:2], bool) if x.mask is None else x.mask for x in attended]
        mask = jnp.concatenate(each, axis=1)
    return Cond(
        vector=over("vector", vectors),
        tokens=over("tokens", lambda found: jnp.concatenate(found, axis=1)),
        mask=mask,
        concat=over("concat", lambda found: jnp.concatenate(found, axis=-1)),
    )


def embedder(conditions: Sequence[Condition]) -> Callable[..., np.ndarray] | None:
    """(params of the model, images) -> the embeddings [n, d] by which a condition knows images.

    None: none does.
    """

    def own(params: Params, i: int) -> Params:
        return params["conditioner"][part(i)] if i else params["conditioner"]

    for i, one in enumerate(conditions):
        if one.embeds:
            return lambda params, images, i=i, one=one: one.embedded(own(params, i), images)
    return None


def from_file(conditions: Sequence[Condition], there: Sequence[Condition]) -> bool:
    """Whether weights come from files, and are not replaced by those of a run with the conditions
    `there`, from which training starts."""
    found = [*there, *[None] * len(conditions)]
    return any(
        one.from_file and not (other and one.same_weights(other))
        for one, other in zip(conditions, found, strict=False)
    )


def published(conditions: Sequence[Condition]) -> Params:
    """Weights of files with which training begins, as parts of the conditioner's params."""
    found: Params = {}
    for i, condition in enumerate(conditions):
        own = condition.published()
        if own is not None:
            found |= {part(i): own} if i else own
    return found


def with_published(params: Params, weights: Params) -> Params:
    """The conditioner's params with `published` weights in place of those of the same names."""
    flat, given = (flatten_dict(tree, keep_empty_nodes=True) for tree in (params, weights))
    return unflatten_dict({**flat, **given})


def check(conditions: Sequence[Condition], model: ModelFacts) -> None:
    """Raises InputError where conditions cannot be composed, or do not go with the model."""
    for i, condition in enumerate(conditions):
        condition.check(f"conditions.{i}.")
    for i, condition in enumerate(conditions):
        condition.check_model(model, f"conditions.{i}.")
    _check_parts(conditions)
    _check_vectors(conditions, model)
    _check_levels(conditions, model.network)


def _check_parts(conditions: Sequence[Condition]) -> None:
    """Raises InputError where two read the same, or have weights or tokens that do not go
    together."""
    read = [name for one in conditions for name in one.reads]
    twice = next((name for name in read if read.count(name) > 1), None)
    if twice:
        both = " and ".join(type(one).__name__ for one in conditions if twice in one.reads)
        raise InputError(f"conditions {both} read {twice} both: expected one of them")
    frozen = next((one for one in conditions if one.frozen), None)
    trained = next((one for one in conditions if not one.frozen and one.has_weights), None)
    if frozen and trained:
        raise InputError(
            f"conditions are {type(trained).__name__} and {type(frozen).__name__}: expected none "
            f"that trains, such as CLIPText, since {type(frozen).__name__} does not"
        )
    widths = {one.token_width for one in conditions} - {None}
    if len(widths) > 1:
        raise InputError(
            f"tokens of conditions are {' and '.join(map(str, sorted(widths)))} wide: expected one "
            "width, since they are attended to together"
        )


def _check_vectors(conditions: Sequence[Condition], model: ModelFacts) -> None:
    """Raises InputError where vectors do not fit what the network takes."""
    having = [(f"conditions.{i}.", one) for i, one in enumerate(conditions) if one.vector_width]
    if len(having) == 1:
        prefix, condition = having[0]
        condition.check_vector(model, prefix)
    widths, dim = [one.vector_width for _, one in having], model.network.vector_dim
    added = set(widths) == {model.network.vector_width}
    if len(having) > 1 and not added and sum(widths) != dim:
        raise InputError(
            f"model.vector_dim is {dim}: expected {sum(widths)}, for the vectors of the conditions "
            f"joined, of widths {', '.join(map(str, widths))}"
        )
    if dim and not having:
        raise InputError(
            f"model.vector_dim is {dim}: expected None, since no condition has a vector; use "
            "Label(slot='vector'), Text(pooled=True) or UnCLIP()"
        )


def _check_levels(conditions: Sequence[Condition], network: BackboneSettings) -> None:
    """Raises InputError unless the network has vectors for the levels of noise it is given."""
    each = (one.noise_levels for one in conditions if not one.vector_width)
    levels, entries = next(filter(None, each), None), network.vector_entries
    if (entries is None) != (levels is None):
        raise InputError(
            f"model.vector_entries is {entries} and max_noise of the low-resolution image "
            f"{levels}: expected both or neither, since levels of noise are given as vectors"
        )
    if levels is None:
        return
    if entries < levels:
        raise InputError(
            f"model.vector_entries is {entries}: expected at least {levels}, the levels of noise"
        )
    if network.vector_dim or any(one.vector_width for one in conditions):
        raise InputError(
            "model.vector_entries and another vector: expected model.vector_dim None and "
            "no condition with a vector, since the network has one"
        )
