"""What is converted into what: read from the two names and what is there."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ldm_jax import runs, training
from ldm_jax.convert.adapter import export_adapter, merge
from ldm_jax.convert.clip import export_clip, import_clip, is_clip
from ldm_jax.convert.diffusers_export import export_pipeline
from ldm_jax.convert.diffusers_model import import_pipeline, is_pipeline
from ldm_jax.convert.first_stage import export_first_stage, import_first_stage
from ldm_jax.convert.glide import is_glide, recognised
from ldm_jax.convert.karlo import import_karlo, is_karlo, refuse_part
from ldm_jax.convert.karlo_export import export_karlo, export_part, holds_runs
from ldm_jax.convert.model import export_model, holds_model, import_model, known_as
from ldm_jax.convert.paths import FILES, prefix_errors
from ldm_jax.errors import InputError
from ldm_jax.experiments.adapter import AdapterExperiment
from ldm_jax.experiments.clip import CLIPExperiment
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runs.config_file import load_config
from ldm_jax.settings import check_folder
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.names.model import DENOISER
from ldm_jax.weights.table import State, shapes_of
from ldm_jax.weights.unread import refuse_unread


def convert(
    source: Path,
    destination: Path,
    config: Path | None = None,
    tokenizer: Path | None = None,
    averages: bool = True,
    adapters: Sequence[str] = (),
) -> None:
    """Imports a checkpoint file or a folder of weights as a run, or exports a run.

    Args:
        config: what is imported: an Experiment and a file with a denoiser are a whole model; so is
            a folder with a model_index.json, with an Experiment or without a config; both encoders
            of a CLIP are one, with a CLIPExperiment or without a config.
        tokenizer: for a model of captions.
        averages: whether a model is to be used with the averages of its weights.
        adapters: of a run, which change its weights first, see `runs.attach`; where the
            destination is not named as a file, it is a run, too.

    Raises:
        InputError: `source` is none of these or does not fit; nothing is written then.
    """
    if destination.exists():
        raise InputError(f"'{destination}' exists: expected the name of something new")
    check_folder(destination, "DESTINATION")
    if runs.is_run(source) or holds_runs(source):
        if config or tokenizer:
            option = "--config" if config else "--tokenizer"
            raise InputError(f"{option} is for imports: a run has a config.py of its own")
        _export_with(source, adapters, destination)
        return
    if adapters:
        raise InputError(f"--adapter is given, and '{source}' is no run: expected the base's run")
    if not source.exists():
        raise InputError(
            f"'{source}' does not exist: expected a run, a checkpoint file or a diffusers folder"
        )
    if destination.suffix in FILES:
        raise InputError(
            f"'{destination}' is named as a file: expected the name of a folder, for a run"
        )
    _import(source, destination, config, tokenizer, averages)


def _import(
    source: Path, run: Path, config: Path | None, tokenizer: Path | None, averages: bool
) -> None:
    """Imports what the config says, or what is recognised."""
    experiment = None if config is None else load_config(config)
    kind = experiment.kind if experiment else None
    weights: State = {}
    if source.is_file():
        with prefix_errors(source):
            weights = read_weights(source)
            refuse_unread(weights)
    refuse_part(source, weights)
    if kind is None and is_karlo(source):
        import_karlo(source, run, tokenizer)
    elif kind in (None, Experiment.kind) and is_pipeline(source):
        if tokenizer:
            raise InputError(f"--tokenizer is {tokenizer}: expected none, the folder has its own")
        import_pipeline(source, run, experiment)
    elif kind == Experiment.kind and holds_model(weights):
        import_model(source, run, experiment, tokenizer, averages)
    elif kind is None and is_glide(weights):
        import_model(source, run, recognised(shapes_of(weights)), tokenizer, averages)
    elif kind == CLIPExperiment.kind or (kind is None and is_clip(source)):
        import_clip(source, run, experiment, tokenizer)
    elif kind == Experiment.kind and (tokenizer or any(x.frozen for x in experiment.conditions)):
        raise InputError(
            f"{source} holds no denoiser ({DENOISER}*), and --config {config} is of a whole model: "
            "expected its file, or no --config, to import a first stage alone"
        )
    else:
        known = known_as(weights) if kind is None and holds_model(weights) else ""
        if tokenizer:
            whole = f", and --config {known} to import the whole model" if known else ""
            raise InputError(
                f"--tokenizer is {tokenizer}: expected none, since no model of captions is "
                f"imported{whole}"
            )
        if known:
            print(f"{source}: with --config {known} the whole model is imported")
        if kind == Experiment.kind:
            experiment = training.inherit(experiment.first_stage, experiment.data)
        import_first_stage(source, run, experiment)


def _export_with(run: Path, adapters: Sequence[str], destination: Path) -> None:
    """Exports a run, whose weights adapters change first."""
    if not adapters:
        _export(run, destination)
    elif destination.suffix not in FILES:
        merge(run, adapters, destination)
    else:
        with tempfile.TemporaryDirectory(dir=destination.parent) as place:
            merge(run, adapters, Path(place) / "merged")
            _export(Path(place) / "merged", destination)


def _export(run: Path, destination: Path) -> None:
    if holds_runs(run):
        return export_karlo(run, destination)
    experiment = runs.load_config(run)
    kind = experiment.kind
    if kind == AdapterExperiment.kind:
        export_adapter(run, destination)
    elif kind == FirstStageExperiment.kind:
        export_first_stage(run, destination)
    elif kind == CLIPExperiment.kind:
        export_clip(run, destination)
    elif experiment.model.karlo:
        export_part(run, destination)
    elif destination.suffix in FILES:
        export_model(run, destination)
    else:
        export_pipeline(run, destination)
