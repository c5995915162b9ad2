"""Adapters as files of others, and models with adapters merged into their weights."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ldm_jax import runs
from ldm_jax.convert.diffusers_model import KEPT
from ldm_jax.convert.model import ASIDE
from ldm_jax.convert.paths import as_json
from ldm_jax.errors import InputError
from ldm_jax.experiments import AdapterExperiment
from ldm_jax.runs.paths import load_config_of
from ldm_jax.runtime.files import whole_folder
from ldm_jax.weights.formats.diffusers_folder import WEIGHTS
from ldm_jax.weights.formats.files import write_weights

PARTS = ("denoiser", "conditioner", "first_stage")


def export_adapter(run: Path, destination: Path) -> None:
    """Writes the adapter of a run by its published names: a file, or a folder.

    Raises:
        InputError: there are no such names, or the destination is no place for what there is.
    """
    experiment = load_config_of(run, AdapterExperiment)
    described = runs.attach(runs.describe(Path(experiment.base)), [str(run)])
    (one,) = described.adapters
    settings, described_as = one.settings, None
    folder, suffix = settings.folder, destination.suffix
    if not (folder or suffix):
        settings, described_as = settings.of_diffusers(one.base) or (settings, None)
    as_file = not (folder or described_as)
    if suffix != (".safetensors" if as_file else ""):
        expected = f"a new folder, in {folder.LAYOUT}" if folder else "NAME.safetensors"
        raise InputError(
            f"'{destination}' is no place for the file of {settings.kind}: expected {expected}"
        )
    arrays, metadata = settings.to_file(one.read(), one.base)
    if as_file:
        write_weights(destination, arrays, metadata=metadata)
    else:
        with whole_folder(destination) as unfinished:
            if folder:
                folder.write(unfinished, arrays, metadata)
            else:
                (unfinished / "config.json").write_text(as_json(described_as), "utf-8")
                write_weights(unfinished / f"{WEIGHTS}.safetensors", arrays)
    size = sum(x.nbytes for x in arrays.values()) / 1e6
    print(f"{destination}: {settings.kind}, {len(arrays)} arrays, {size:.1f} MB")


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
