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

if __name__ == "__main__":  # what is imported next takes seconds
    from ldm_jax.runtime import interrupt

    interrupt.end_on_interrupt()

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ldm_jax import cli, runs, training
from ldm_jax.errors import InputError
from ldm_jax.experiments import Experiment
from ldm_jax.runtime import hosts
from ldm_jax.runtime.compilation import use_first_thread


@dataclass(frozen=True)
class Tool:
    """The options of train.py itself."""

    workdir: str | None = None  # the run's folder; None: runs/NAME for configs/NAME.py
    init_from: str | None = None  # a run whose weights training starts from
    init_checkpoint: str | None = None  # of that run: a step, or best; None: the newest
    init_partial: bool = False  # start from those of its weights that match
    dry_run: bool = False  # check config and data, print what training takes, and write nothing
    distributed: bool = False  # one of several hosts, which JAX detects (SLURM, Kubernetes, ...)
    coordinator: str | None = None  # HOST:PORT of process 0, where hosts are not detected
    num_processes: int | None = None  # of all hosts
    process_id: int | None = None  # of this process, 0 ... num_processes - 1


def main(words: Sequence[str]) -> None:
    """Parse, build, call."""
    path, *rest = words if words and not words[0].startswith("-") else (None, *words)
    default = cli.load_config(path) if path else Experiment()
    prog = f"train.py {path or 'CONFIG.py'}"
    tool, experiment = cli.override_both(Tool(), default, rest, prog, __doc__)
    if not path:
        raise InputError("no config: expected python train.py CONFIG.py, see configs/")
    for name in ("init_partial", "init_checkpoint"):
        if getattr(tool, name) and not tool.init_from:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} is given without --init-from RUN: expected both")
    hosts.connect(tool.distributed, tool.coordinator, tool.num_processes, tool.process_id)
    run = Path(tool.workdir or Path("runs") / Path(path).stem)
    start = runs.chosen(tool.init_from, tool.init_checkpoint) if tool.init_from else None
    use_first_thread()
    training.train(experiment, run, tool.dry_run, start, tool.init_partial)
    if tool.dry_run:
        print(f"dry run: config and data can be used, nothing is written to {run}")


if __name__ == "__main__":
    cli.main(main)
    sys.exit(0)
