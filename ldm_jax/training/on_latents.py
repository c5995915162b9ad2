"""Training on latents, and on captions, that were encoded once."""

from collections.abc import Mapping

from tokenizers import Tokenizer

from ldm_jax.autoencoders.latents import remembered
from ldm_jax.conditioning.cached import remembered as remembered_captions
from ldm_jax.data import latents
from ldm_jax.diffusion.model import with_conditioner
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.runs.digest import caption_digest, digest
from ldm_jax.training.source import Source
from ldm_jax.types import DiffusionModel, Params


def check_latents(source: Source, experiment: Experiment, model: DiffusionModel) -> None:
    """Raises InputError where a condition is made of the images that latents are of."""
    if source.derive or model.conditioner.encode:
        names = " and ".join(type(one).__name__ for one in experiment.conditions)
        raise InputError(
            f"data.path '{experiment.data.path}' holds latents: expected images for a condition of "
            f"{names}, which is made of them"
        )


def reading_latents(source: Source, model: DiffusionModel) -> DiffusionModel:
    """The model with a first stage and a conditioner that read what the source has."""
    if not isinstance(source.records, latents.Source):
        return model
    drawn = source.records.described.drawn
    model = model._replace(first_stage=remembered(model.first_stage, drawn))
    if _has_captions(source, model):
        conditioner = remembered_captions(model.conditioner, source.records.empty())
        model = with_conditioner(model, conditioner)
    return model


def _has_captions(source: Source, model: DiffusionModel) -> bool:
    """Whether captions were encoded with the latents, and the model can read them so: it reads
    captions alone, and training does not change its encodings."""
    frozen = model.conditioner.keys == ("tokens",) and not model.conditioner.trained
    return bool(source.records.described.answered) and frozen


def check_encoded(
    source: Source, model: DiffusionModel, params: Params, tokenizers: Mapping[str, Tokenizer]
) -> None:
    """Raises InputError where another model than this one encoded what the source has."""
    if not isinstance(source.records, latents.Source):
        return
    name, described = source.records.name, source.records.described
    own = digest(params["first_stage"], model.first_stage)
    if described.first_stage != own:
        raise InputError(
            f"the latents in {name} are of a first stage with digest {described.first_stage}: "
            f"expected {own}, that of first_stage.run; cache them with it"
        )
    if not _has_captions(source, model):
        return
    own = caption_digest(params["conditioner"], tokenizers["tokens"])
    if described.conditioner != own:
        raise InputError(
            f"the captions in {name} were read by a conditioner with digest "
            f"{described.conditioner}: expected {own}, that of the model; cache them with "
            "--embed-text and its run"
        )
