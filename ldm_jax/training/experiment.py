"""What an experiment describes, trained in a folder."""

from pathlib import Path

from ldm_jax import checks, cli, runs
from ldm_jax.config import ClassifierExperiment, CLIPExperiment, FirstStageExperiment
from ldm_jax.runs import init_from as starting
from ldm_jax.training.classifier import train_classifier
from ldm_jax.training.clip import train_clip
from ldm_jax.training.diffusion import train_diffusion
from ldm_jax.training.first_stage import train_first_stage


def train(
    experiment: runs.AnyExperiment,
    run: Path,
    dry_run: bool = False,
    init_from: Path | None = None,
    partial: bool = False,
) -> None:
    """Trains what the experiment describes in the folder `run`, or goes on with it.

    Args:
        init_from: a run whose weights to start from, see `starting`; what was begun goes on. A
            diffusion model takes its first stage and the scale of its latents along, unless
            first_stage.run says another, and its tokenizer.
        partial: take what matches.

    Raises:
        InputError: bad input, found before anything is written.
    """
    cli.check_folder(run, "--workdir")
    checks.check_ranges(experiment)
    start = starting.start_from(init_from, experiment, partial) if init_from else None
    if isinstance(experiment, FirstStageExperiment):
        train_first_stage(experiment, run, dry_run, start)
    elif isinstance(experiment, CLIPExperiment):
        train_clip(experiment, run, dry_run, start)
    elif isinstance(experiment, ClassifierExperiment):
        train_classifier(experiment, run, dry_run, start)
    else:
        train_diffusion(experiment, run, dry_run, start)
