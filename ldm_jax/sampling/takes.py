"""Which condition a model has of an image, in addition to captions or alone."""

from ldm_jax.config import Condition, Experiment


def task_of(experiment: Experiment) -> Condition:
    """What the model is conditioned on of an image, in addition to its captions or alone."""
    return experiment.beside or experiment.condition
