"""What is converted into what: read from the two names and what is there."""

from pathlib import Path

from ldm_jax import runs, training
from ldm_jax.conditioning.clip_image import CLIPImage
from ldm_jax.conditioning.clip_text import CLIPText
from ldm_jax.convert.clip import export_clip, import_clip, is_clip
from ldm_jax.convert.diffusers_model import export_pipeline, import_pipeline, is_pipeline
from ldm_jax.convert.first_stage import export_first_stage, import_first_stage
from ldm_jax.convert.model import export_model, holds_model, import_model, say_whole
from ldm_jax.convert.paths import FILES, prefix_errors
from ldm_jax.errors import InputError
from ldm_jax.experiments.clip import CLIPExperiment
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runs.config_file import load_config
from ldm_jax.settings import check_folder
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.unread import refuse_unread


def convert(
    source: Path,
    destination: Path,
    config: Path | None = None,
    tokenizer: Path | None = None,
    averages: bool = True,
) -> None:
    """Imports a checkpoint file or a folder of weights as a run, or exports a run.

    Args:
        config: what is imported: an Experiment and a file with a denoiser are a whole model; so is
            a folder with a model_index.json, with an Experiment or without a config; both towers of
            a CLIP are one, with a CLIPExperiment or without a config.
        tokenizer: for a model of captions.
        averages: whether a model is to be used with the averages of its weights.

    Raises:
        InputError: `source` is none of these or does not fit; nothing is written then.
    """
    if destination.exists():
        raise InputError(f"'{destination}' exists: expected the name of something new")
    check_folder(destination.parent, "DESTINATION")
    is_run = runs.is_run(source)
    if not is_run and not source.exists():
        raise InputError(
            f"'{source}' does not exist: expected a run, a checkpoint file or a diffusers folder"
        )
    experiment = None if config is None else load_config(config)
    if is_run:
        if experiment or tokenizer:
            option = "--config" if experiment else "--tokenizer"
            raise InputError(f"{option} is for imports: a run has a config.py of its own")
        _export(source, destination)
        return
    if destination.suffix in FILES:
        raise InputError(
            f"'{destination}' is named as a file: expected the name of a folder, for a run"
        )
    if source.is_file():
        with prefix_errors(source):
            refuse_unread(read_weights(source))
    if is_pipeline(source) and (experiment is None or isinstance(experiment, Experiment)):
        if tokenizer:
            raise InputError(f"--tokenizer is {tokenizer}: expected none, the folder has its own")
        import_pipeline(source, destination, experiment)
        return
    if isinstance(experiment, Experiment) and holds_model(source):
        import_model(source, destination, experiment, tokenizer, averages)
        return
    if isinstance(experiment, CLIPExperiment) or (experiment is None and is_clip(source)):
        import_clip(source, destination, experiment, tokenizer)
        return
    if tokenizer:
        raise InputError(
            f"--tokenizer is {tokenizer}: expected none, since no model of captions is imported"
        )
    if isinstance(experiment, Experiment):
        if isinstance(experiment.condition, CLIPText | CLIPImage):
            raise InputError(
                f"{source} holds no denoiser, and --config {config} is of a whole model: expected "
                "its file, or no --config, to import a first stage alone"
            )
        experiment = training.inherit(experiment.first_stage, experiment.data)
    elif experiment is None and holds_model(source):
        say_whole(source)
    import_first_stage(source, destination, experiment)


def _export(run: Path, destination: Path) -> None:
    experiment = runs.load_config(run)
    if isinstance(experiment, FirstStageExperiment):
        export_first_stage(run, destination)
    elif isinstance(experiment, CLIPExperiment):
        export_clip(run, destination)
    elif destination.suffix in FILES:
        export_model(run, destination)
    else:
        export_pipeline(run, destination)
