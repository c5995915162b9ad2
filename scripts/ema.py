"""Averages the weights of a run with a length that is chosen after training.

python scripts/ema.py RUN OUT [--sigma-rel 0.1] [--step N]
    writes the run OUT, whose weights are the average of those of RUN whose standard deviation over
    time is a share of sigma_rel of the steps until N (Karras et al. 2024, EDM2). RUN must have been
    trained with two or more averages and snapshots of them:

python train.py CONFIG.py --optim.power-ema 0.05 0.1 --train.snapshot-every 1000
"""

if __name__ == "__main__":  # what is imported next takes seconds
    from ldm_jax.runtime import interrupt

    interrupt.end_on_interrupt()

from collections.abc import Sequence
from pathlib import Path

from ldm_jax import cli
from ldm_jax.tools.ema import Options, average


def main(words: Sequence[str]) -> None:
    """Parse, call."""
    (run, out), options = cli.arguments(Options(), words, "RUN OUT", "ema.py", __doc__)
    average(Path(run), Path(out), options)


if __name__ == "__main__":
    cli.main(main)
