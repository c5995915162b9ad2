"""Trains a first stage or a latent diffusion model.

python train.py CONFIG.py [--workdir RUN] [--section.field VALUE ...] [--dry-run]

The same command again resumes. A diffusion model whose first stage has no run yet trains it first,
in RUN/first_stage. RUN is runs/NAME for configs/NAME.py unless given.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ldm_jax import cli, runs
from ldm_jax.errors import InputError


def main(words: Sequence[str]) -> None:
    """Parse, build, call."""
    if not words or words[0].startswith("-"):
        if "--help" in words or "-h" in words:
            print(__doc__ + "\nEvery setting: python train.py CONFIG.py --help")
            return
        raise InputError("no config: expected python train.py CONFIG.py, see configs/")
    path, *rest = words
    config = cli.load_config(path)
    workdir, rest = option(rest, "--workdir")
    dry_run = "--dry-run" in rest
    rest = [word for word in rest if word != "--dry-run"]
    experiment = cli.override(config, rest, f"train.py {path}", __doc__)
    runs.train(experiment, Path(workdir or Path("runs") / Path(path).stem), dry_run)


def option(words: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Takes `name VALUE` or `name=VALUE` out of the words."""
    words = list(words)
    for i, word in enumerate(words):
        if word == name:
            if i + 1 == len(words):
                raise InputError(f"{name} has no value: expected a folder")
            return words[i + 1], words[:i] + words[i + 2 :]
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}="), words[:i] + words[i + 1 :]
    return None, words


if __name__ == "__main__":
    cli.main(main)
    sys.exit(0)
