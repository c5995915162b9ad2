"""From a folder of diffusers to one that was fine-tuned on images, by way of cached latents and
captions; shared by the test and parity/make/pipeline_folders.py, where diffusers reads the end."""

from dataclasses import replace
from pathlib import Path

from ldm_jax import cli, convert, runs, training
from ldm_jax.config import Train
from ldm_jax.tools import cache_latents

CONFIG = Path(__file__).parents[2] / "configs" / "sd" / "finetune.py"


def settings(there: runs.AnyExperiment, data: Path, size: int):
    """configs/sd/finetune.py with the sizes of a small model, attention alone, four steps."""
    given = cli.load_config(CONFIG)
    return replace(
        given,
        first_stage=there.first_stage,
        latent_scale=there.latent_scale,
        model=there.model,
        conditions=(replace(there.conditions[0], drop=given.conditions[0].drop),),
        diffusion=there.diffusion,
        sampling=there.sampling,
        data=replace(given.data, path=str(data), image_size=size, crop="center"),
        optim=replace(given.optim, lr=1e-2, warmup=0, train_only="/(self|cross)/"),
        train=Train(steps=4, save_every=4, log_every=1, sample_every=0),
    )


def finetune(folder: Path, images: Path, size: int, where: Path) -> tuple[Path, Path, Path]:
    """Converts, caches, trains and exports.

    Returns:
        the runs of before and after, and the folder of diffusers of after.
    """
    before, after, exported = (where / name for name in ("before", "after", "exported"))
    convert.convert(folder, before)
    words = ("--batch-size", "4", "--embed-text", str(before))
    cache_latents.cache_latents(before, str(images), where / "latents", words, "")
    experiment = settings(runs.load_config(before), where / "latents", size)
    training.train(experiment, after, init_from=before)
    convert.convert(after, exported)
    return before, after, exported
