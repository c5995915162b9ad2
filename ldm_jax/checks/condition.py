"""Whether network and conditions meet."""

from ldm_jax import config as c
from ldm_jax.conditioning.checks import check_conditions
from ldm_jax.conditioning.condition import ModelFacts
from ldm_jax.errors import InputError


def conditions_of(experiment: c.Experiment) -> list[tuple[str, c.Condition]]:
    """The conditions of a model, each with the prefix of its fields' names."""
    beside = [("beside.", experiment.beside)] if experiment.beside else []
    return [("condition.", experiment.condition), *beside]


def check_condition(experiment: c.Experiment) -> None:
    """Raises InputError where network and conditions do not meet."""
    unet, conditions = experiment.model, conditions_of(experiment)
    for factor in set(unet.cross_only_factors) - set(unet.attention_factors):
        raise InputError(
            f"model.cross_only_factors has {factor}: expected some of model.attention_factors, "
            f"which are {', '.join(map(str, unet.attention_factors)) or 'none'}"
        )
    for prefix, condition in conditions:
        condition.check(prefix)
    facts = ModelFacts(
        factor=experiment.first_stage.model.factor,
        vector_width=unet.vector_dim or 4 * unet.channels,
        vector_dim=unet.vector_dim,
        vector_entries=unet.vector_entries,
        guidance=experiment.sampling.guidance,
    )
    check_conditions(conditions, facts)
