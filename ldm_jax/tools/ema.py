"""What scripts/ema.py does: an average of a run's weights, of a length chosen after training."""

from dataclasses import dataclass
from pathlib import Path

from ldm_jax import checkpoint, runs
from ldm_jax.errors import InputError
from ldm_jax.runtime.files import whole_folder
from ldm_jax.settings import check_folder, check_within
from ldm_jax.train_step import power_ema

LARGEST = power_ema.sigma_of(0.0)  # of the mean of all steps, about 0.289


@dataclass(frozen=True)
class Options:
    """The settings of ema.py."""

    sigma_rel: float = 0.1
    """length of the average, its relative standard deviation"""
    step: int | None = None
    """at which it ends; None: at the last that was saved"""


def average(run: Path, out: Path, options: Options) -> None:
    """Writes the run OUT, with another average of the weights of `run`.

    Raises:
        InputError: no such averages were kept, or no such one can be made of them.
    """
    sigma = options.sigma_rel
    if not 0.0 < sigma < LARGEST:
        raise InputError(
            f"--sigma-rel is {sigma}: expected more than 0 and less than {LARGEST:.3f}"
        )
    if out.exists():
        raise InputError(f"OUT '{out}' exists: expected the name of a new run")
    check_folder(out, "OUT")
    experiment = runs.load_config(run)
    saved = checkpoint.snapshot_steps(run)
    if not saved:
        raise InputError(
            f"run '{run}' has no snapshots: expected training with --optim.power-ema 0.05 0.1 and "
            "--train.snapshot-every N"
        )
    step = options.step or saved[-1]
    check_within(step, "--step", saved[0], saved[-1], "as was saved")
    used = [s for s in saved if s <= step]
    places = [(s, key) for s in used for key in checkpoint.snapshot_names(run, s)]
    gammas = [power_ema.gamma_of(float(key)) for _, key in places]
    steps, gamma = [float(s) for s, _ in places], power_ema.gamma_of(sigma)
    shares = power_ema.solve(gammas, steps, gamma, step)
    unlike = power_ema.unlikeness(gammas, steps, gamma, step)
    needed = [(place, x) for place, x in zip(places, shares, strict=True) if abs(x) > 1e-12]
    averages = [checkpoint.read_snapshot(run, *place) for place, _ in needed]
    ema = power_ema.total(averages, [x for _, x in needed])
    params = {
        part: checkpoint.read_part(run, "params", part) for part in checkpoint.weight_shapes(run)
    }
    tokenizers = runs.load_tokenizers(run, experiment)
    with whole_folder(out) as unfinished:
        runs.write_imported(unfinished, experiment, params, ema, tokenizers)
        runs.copy_names(run, unfinished)
    print(
        f"{out}: average of sigma_rel {sigma:g} at step {step}, of {len(needed)} that were kept; "
        f"its profile differs by {unlike:.2%}"
    )
