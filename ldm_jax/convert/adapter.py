"""Adapters as files of others, and models with adapters merged into their weights."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ldm_jax import runs
from ldm_jax.convert.diffusers_model import KEPT
from ldm_jax.convert.model import ASIDE
from ldm_jax.experiments import AdapterExperiment
from ldm_jax.runs.paths import load_config_of
from ldm_jax.runtime.files import whole_folder

PARTS = ("denoiser", "conditioner", "first_stage")


def export_adapter(run: Path, destination: Path) -> None:
    """Writes the adapter of a run by its published names: a file, or a folder.

    Raises:
        InputError: there are no such names, or the destination is no place for what there is.
    """
    experiment = load_config_of(run, AdapterExperiment)
    described = runs.attach(runs.describe(Path(experiment.base)), [str(run)])
    (one,) = described.adapters
    arrays = one.settings.write(destination, one.read(), one.base)
    size = sum(x.nbytes for x in arrays.values()) / 1e6
    print(f"{destination}: {one.settings.kind}, {len(arrays)} arrays, {size:.1f} MB")


def merge(run: Path, adapters: Sequence[str], destination: Path) -> None:
    """Writes the run of a model whose weights are those of a run with adapters.

    Args:
        adapters: as `runs.attach` takes them.

    Raises:
        InputError: what is no adapter, does not fit the run, or changes no weights.
    """
    described = runs.attach(runs.describe(run), adapters)
    runs.check_of_weights(described)
    whole = runs.with_weights(described)
    params = {part: whole.params[part] for part in PARTS}
    with whole_folder(destination) as unfinished:
        runs.write_imported(unfinished, whole.experiment, params, None, whole.tokenizers)
        runs.copy_names(described.run, unfinished)
        if (described.run / KEPT).is_dir():
            shutil.copytree(described.run / KEPT, unfinished / KEPT)
        if (described.run / ASIDE).is_file():
            shutil.copyfile(described.run / ASIDE, unfinished / ASIDE)
    listed = ", ".join(f"{one.name} at {one.word.scale:g}" for one in described.adapters)
    print(f"{destination}: {run} with {listed}; draw with sample.py {destination}")
