"""What an experiment describes, trained in a folder."""

from pathlib import Path

from ldm_jax import runs
from ldm_jax.runs import init_from as starting
from ldm_jax.settings import check_folder, check_ranges
from ldm_jax.training.classifier import classifier_task
from ldm_jax.training.clip import clip_task
from ldm_jax.training.diffusion import diffusion_task
from ldm_jax.training.first_stage import first_stage_task
from ldm_jax.training.run import run as run_task

TASKS = {  # kind of an experiment -> its task
    "a diffusion model": diffusion_task,
    "a first stage": first_stage_task,
    "a classifier": classifier_task,
    "a CLIP": clip_task,
}


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
    check_folder(run, "--workdir")
    check_ranges(experiment)
    start = starting.start_from(init_from, experiment, partial) if init_from else None
    task = TASKS[experiment.kind](experiment, run, dry_run, start)
    run_task(task, run, dry_run, start)
