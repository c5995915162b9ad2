"""Trains a first stage, a latent diffusion model, a classifier that guides one, or a CLIP.

python train.py CONFIG.py [--workdir RUN] [--section.field VALUE ...] [--dry-run]
                          [--init-from OTHER [--init-checkpoint best] [--init-partial]]

The same command again resumes, also after SIGTERM, on which the step is saved and the exit status
is 143. A diffusion model whose first stage has no run yet trains it first, in RUN/first_stage; a
classifier (configs/small-classifier.py) takes first stage, scale and noise from the model that it
is to guide, --diffusion-run RUN. RUN is runs/NAME for configs/NAME.py unless given.

On several hosts the same command is started on each, with --distributed where JAX detects them
(SLURM, Open MPI, Kubernetes, a TPU pod), or else with --coordinator HOST:PORT --num-processes N
--process-id I (docs/scale.md).

--init-from starts from the weights of another run, trained here or converted: of the parts that
both have, all arrays must match, unless --init-partial takes those that do. --init-checkpoint takes
another than its newest checkpoint: a step, or best.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ldm_jax import cli, runs, training
from ldm_jax.errors import InputError
from ldm_jax.runtime import hosts
from ldm_jax.runtime.compilation import use_first_thread


def main(words: Sequence[str]) -> None:
    """Parse, build, call."""
    if not words or words[0].startswith("-"):
        if "--help" in words or "-h" in words:
            print(__doc__ + "\nEvery setting: python train.py CONFIG.py --help")
            return
        raise InputError("no config: expected python train.py CONFIG.py, see configs/")
    path, *rest = words
    config = cli.load_config(path)
    workdir, rest = cli.option(rest, "--workdir")
    init_from, rest = cli.option(rest, "--init-from")
    which, rest = cli.option(rest, "--init-checkpoint", "a step, or best")
    flags = ("--dry-run", "--distributed", "--init-partial")
    dry_run, distributed, partial = (flag in rest for flag in flags)
    rest = [word for word in rest if word not in flags]
    for flag, given in (("--init-partial", partial), ("--init-checkpoint", which)):
        if given and not init_from:
            raise InputError(f"{flag} is given without --init-from RUN: expected both")
    meeting = []
    for name in hosts.BY_HAND:
        value, rest = cli.option(rest, name, "a value")
        meeting.append(value)
    hosts.connect(distributed, *meeting)
    experiment = cli.override(config, rest, f"train.py {path}", __doc__)
    run = Path(workdir or Path("runs") / Path(path).stem)
    start = runs.chosen(init_from, which) if init_from else None
    use_first_thread()
    training.train(experiment, run, dry_run, start, partial)
    if dry_run:
        print(f"dry run: config and data can be used, nothing is written to {run}")


if __name__ == "__main__":
    cli.main(main)
    sys.exit(0)
