"""Draws pictures from a trained latent diffusion model, or from a variational autoencoder's prior.

python sample.py RUN --num 16 --prompt "a large red circle at the center"
python sample.py RUN --interpolate 8

Writes DIR/000000.png ..., DIR/grid.png, DIR/samples.npz and DIR/report.json. Picture i belongs to
seed S + i alone, whatever the batch size; prompts (or labels) are taken in turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ldm_jax import cli, prior_request, request, runs
from ldm_jax.errors import InputError


@dataclass(frozen=True)
class Options:
    """The settings of sample.py; what is None is as the run's config has it."""

    out: str | None = None
    """folder to write to; RUN/samples-seedS where not given"""
    num: int | None = None
    """pictures; one for each prompt or label, or 16, where not given"""
    batch_size: int = 16
    seed: int = 0
    steps: int | None = None
    sampler: Literal["ddim", "ddpm"] | None = None
    grid: Literal["uniform", "leading", "trailing"] | None = None
    """which times the sampler visits"""
    eta: float | None = None
    """0: deterministic DDIM; 1: as much noise as DDPM"""
    guidance: float | None = None
    """scale of classifier-free guidance; 1 is none"""
    prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    label: Annotated[tuple[str, ...], tyro.conf.arg(metavar="L ...")] = ()
    """classes, by number or by name"""
    latents: str | None = None
    """a .npy of standard normal noise [N, h, w, c] to start from"""
    tile: int | None = None
    """decode by tiles of so many latents a side, which needs less memory"""
    interpolate: int | None = None
    """of a variational autoencoder: so many pictures a row, between the draws of two seeds"""


def main(words: Sequence[str]) -> None:
    """Parse, load, draw, write."""
    if not words or words[0].startswith("-"):
        if "--help" not in words and "-h" not in words:
            raise InputError("no run: expected python sample.py RUN, a folder that train.py wrote")
        run, rest = None, words
    else:
        run, *rest = words
    options = cli.override(Options(), rest, "sample.py RUN", __doc__)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    described = runs.describe_any(Path(run))
    kind = prior_request if isinstance(described, runs.TrainedFirstStage) else request
    wanted = kind.resolve(described, **settings)
    out = Path(options.out or Path(run) / f"samples-seed{options.seed}")
    cli.check_folder(out, "--out")
    trained = runs.with_weights(described)
    images = kind.draw(trained, wanted)
    kind.write(out, images, trained, wanted)
    print(f"{len(images)} pictures in {out}, together in {out / 'grid.png'}")


if __name__ == "__main__":
    cli.main(main)
