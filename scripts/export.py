"""Exports a diffusion model as a program that is loaded without tracing it.

python scripts/export.py RUN --out FOLDER --batch 1 --size 512 512 --platforms cpu cuda
python sample.py --compiled FOLDER --prompt "a large red circle at the center"

FOLDER has StableHLO (`jax.export`) from token ids and seeds to images; the weights; and
export.json, which says what it takes and gives.
"""

if __name__ == "__main__":  # what is imported next takes seconds
    from ldm_jax.runtime import interrupt

    interrupt.end_on_interrupt()

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ldm_jax import cli, runs
from ldm_jax.config import SamplerName
from ldm_jax.errors import InputError
from ldm_jax.sampling import exported
from ldm_jax.settings import AtLeast1


@dataclass(frozen=True)
class Options:
    """The settings of export.py."""

    out: str = ""
    """folder to write to"""
    batch: AtLeast1 = 1
    """images that are made at once"""
    size: tuple[int, ...] = ()
    """height and width in pixels, where not those of training"""
    sampler: SamplerName | None = None
    """whose step it is; the run's own where not given. Steps, times and guidance stay free"""
    platforms: tuple[str, ...] = ()
    """for which it is, of cpu, cuda, rocm and tpu; the one that this runs on where not given"""
    param_dtype: Literal["float32", "bfloat16"] | None = None
    """of the weights; bfloat16 takes half of the memory"""
    checkpoint: str | None = None
    """which of the run's: a step, or best; the newest where not given"""
    adapter: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN_OR_FILE[:SCALE] ...")] = ()
    """adapters; what changes weights, such as a LoRA, is merged into the export, with this scale;
    of those that act at each step, such as a ControlNet, hints and scales stay free"""


def main(words: Sequence[str]) -> None:
    """Parse, load, export."""
    (run,), asked = cli.arguments(Options(), words, "RUN", "export.py", __doc__)
    if not asked.out:
        raise InputError("expected python scripts/export.py RUN --out FOLDER, see --help")
    exported.check_installed()
    out = Path(asked.out)
    exported.check_out(out)
    described = runs.describe(runs.chosen(run, asked.checkpoint))
    exported.check_exportable(described)
    described = runs.attach(described, asked.adapter)
    trained = runs.with_weights(described, asked.param_dtype)
    about = exported.write(
        trained,
        out,
        batch_size=asked.batch,
        sampler=asked.sampler or described.experiment.sampling.sampler,
        size=asked.size,
        platforms=asked.platforms,
    )
    size = sum(path.stat().st_size for path in out.rglob("*")) / 2**20
    height, width = about["size"]
    print(
        f"{out}: {size:.1f} MiB, {about['sampler']}, {asked.batch} images of {width} x {height} "
        f"at once, for {', '.join(about['platforms'])}"
    )


if __name__ == "__main__":
    cli.main(main)
