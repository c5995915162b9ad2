"""Whether several conditions go together, and with the network."""

from collections.abc import Sequence

from ldm_jax.conditioning.condition import Condition, ModelFacts
from ldm_jax.errors import InputError


def check_conditions(conditions: Sequence[tuple[str, Condition]], model: ModelFacts) -> None:
    """Raises InputError where conditions, each with the prefix of its fields' names, cannot be
    composed, or do not go with the rest of a model."""
    for prefix, condition in conditions:
        condition.check_model(model, prefix)
    _check_trained([condition for _, condition in conditions])
    _check_vectors(conditions, model)
    _check_levels([condition for _, condition in conditions], model)


def _check_trained(conditions: Sequence[Condition]) -> None:
    """Raises InputError where an encoder trains and another does not."""
    frozen = next((c for c in conditions if c.frozen), None)
    trained = next((c for c in conditions if not c.frozen and c.has_weights), None)
    if frozen and trained:
        raise InputError(
            f"conditions are {type(trained).__name__} and {type(frozen).__name__}: expected none "
            f"that trains, such as CLIPText, since {type(frozen).__name__} does not"
        )


def _check_vectors(conditions: Sequence[tuple[str, Condition]], model: ModelFacts) -> None:
    """Raises InputError where vectors do not fit what the network takes."""
    having = [(prefix, c) for prefix, c in conditions if c.vector_width]
    if len(having) == 1:
        prefix, condition = having[0]
        condition.check_vector(model, prefix)
    widths = [c.vector_width for _, c in having]
    added = set(widths) == {model.vector_width}
    if len(having) > 1 and not added and sum(widths) != model.vector_dim:
        raise InputError(
            f"model.vector_dim is {model.vector_dim}: expected {sum(widths)}, for the vectors of "
            f"the conditions joined, of widths {', '.join(map(str, widths))}"
        )
    if model.vector_dim and not having:
        raise InputError(
            f"model.vector_dim is {model.vector_dim}: expected None, since no condition has a "
            "vector; use Label(slot='vector'), Text(pooled=True) or UnCLIP()"
        )


def _check_levels(conditions: Sequence[Condition], model: ModelFacts) -> None:
    """Raises InputError unless the network has vectors for the levels of noise it is given."""
    levels = next((c.levels for c in conditions if c.levels), None)
    if (model.vector_entries is None) != (levels is None):
        raise InputError(
            f"model.vector_entries is {model.vector_entries} and max_noise of the low-resolution "
            f"image {levels}: expected both or neither, since levels of noise are given as vectors"
        )
    if levels is not None and model.vector_entries < levels:
        raise InputError(
            f"model.vector_entries is {model.vector_entries}: expected at least {levels}, the "
            "levels of noise"
        )
    if levels is not None and (model.vector_dim or any(c.vector_width for c in conditions)):
        raise InputError(
            "model.vector_entries and another vector: expected model.vector_dim None and "
            "no condition with a vector, since the network has one"
        )
