"""Full-size networks against stored outputs of the original code.

    python -m tests.parity.full_size --golden GOLDEN --keys KEYS [--config CONFIG.py] \\
        [--prefix PREFIX] [NAME ...]

GOLDEN holds an npz a configuration with the original's inputs and outputs, KEYS a json a
configuration with its state-dict keys and their shapes. Weights are drawn from the keys, so neither
torch nor a checkpoint is needed. The largest configuration takes about 12 GB of memory. Three of
the zoo have references of `make/full_size.py`, in whose folder are both the npz and the json.

Any NAME is compared that is in both folders. Its network is the one of --config; otherwise the
config of configs/ whose model has these keys and shapes, or the first stage that they describe.
Which of its parts are computed follows from the arrays of the npz:

    image                  -> moments, h, latents, indices, recon: those that the npz has
    x, t, context, vector  -> y
    ids                    -> tokens
"""

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import cli
from ldm_jax import config as c
from ldm_jax.autoencoders.latents import unit
from ldm_jax.autoencoders.quantizer import codes_of
from ldm_jax.convert import recognise
from ldm_jax.errors import InputError
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import model as model_names
from ldm_jax.weights.names import tiny as tiny_names
from tests.parity import compare
from tests.parity.cases import drawn, networks

CONFIGS = Path(__file__).parents[2] / "configs"
TOLERANCE = 1e-4  # of the largest reference
PREFIXES = (model_names.DENOISER, model_names.FIRST_STAGE, model_names.CONDITIONER)
Shapes = Mapping[str, tuple[int, ...]]


class Part(NamedTuple):
    """One network.

    name:  of its subtree in the params
    takes: arrays without which it is not computed
    call:  (its params, all arrays) -> outputs by name
    """

    name: str
    takes: tuple[str, ...]
    call: Callable


class Whole(NamedTuple):
    """A model: rows of all its params, and its networks."""

    table: tables.Table
    parts: tuple[Part, ...]


def first_stage(settings) -> Part:
    """Latents of an image, and their decoding; images are from 0 or from -1, as in the arrays."""
    stage = settings.build()

    def call(params, arrays):
        from_zero = np.min(arrays["image"]) >= 0
        image = 2 * arrays["image"] - 1 if from_zero else arrays["image"]
        params = params | unit(stage.channels)
        q = stage.posterior(params, networks.channels_last(image))
        recon = stage.decode(params, q.mean)
        latents = networks.channels_first(q.mean)
        moments = jnp.concatenate([q.mean, jnp.broadcast_to(q.log_variance, q.mean.shape)], axis=-1)
        found = {"h": latents, "latents": latents, "moments": networks.channels_first(moments)}
        if "quantizer" in params:
            found["indices"] = codes_of(q.mean, params["quantizer"]["embedding"]).reshape(-1)
        recon = networks.channels_first(recon)
        return found | {"recon": (recon + 1) / 2 if from_zero else recon}

    return Part("first_stage", ("image",), call)


def whole(experiment: c.Experiment | c.FirstStageExperiment) -> Whole:
    """The networks of an experiment under their original names."""
    if isinstance(experiment, c.FirstStageExperiment):
        rows = tables.under(experiment.model.original_names(), "first_stage/")
        return Whole(rows, (first_stage(experiment.model),))
    stage = first_stage(experiment.first_stage.model)
    channels = experiment.first_stage.model.build().channels
    outputs = 2 * channels if experiment.diffusion.learned_variance else channels
    unet = networks.denoiser(experiment.model, outputs)
    parts = [Part("denoiser", ("x", "t"), unet.call), stage]
    encoder = next(iter(experiment.conditions), None)
    if isinstance(encoder, c.Text | c.Layout):
        text = networks.text_transformer(encoder)
        parts.append(Part("conditioner", ("ids",), text.call))
    return Whole(experiment.original_names().table, tuple(parts))


@functools.cache
def models() -> dict[str, tuple[c.Experiment, Shapes]]:
    """The models in configs/ but for those whose size data decide, with keys and shapes of each."""
    paths = sorted(path for path in CONFIGS.rglob("*.py") if path.stem != "base")
    paths = [path for path in paths if path.parent.name != "cascades"]
    loaded = {str(path): cli.load_config(path) for path in paths}
    return {
        name: (experiment, tables.shapes(experiment.original_names().table))
        for name, experiment in loaded.items()
        if isinstance(experiment, c.Experiment)
        and all(getattr(one, "num_classes", 0) is not None for one in experiment.conditions)
    }


def has(wanted: Shapes, shapes: Shapes) -> bool:
    """Whether a model has the denoiser of these keys, and the other parts where they are there."""

    def under(prefix, all_shapes):
        return {key: tuple(shape) for key, shape in all_shapes.items() if key.startswith(prefix)}

    kept = {key: s for key, s in shapes.items() if not model_names.ASIDE.fullmatch(key)}
    found = {prefix: under(prefix, kept) for prefix in PREFIXES}
    return bool(found[model_names.DENOISER]) and all(
        part == under(prefix, wanted)
        for prefix, part in found.items()
        if part and under(prefix, wanted)
    )


def network(settings) -> tuple:
    """Settings of a network that change what it computes."""
    fields = [f.name for f in dataclasses.fields(settings) if f.name not in ("dtype", "remat")]
    return (settings.__class__, *(getattr(settings, name) for name in fields))


def recognised(shapes: Shapes) -> c.Experiment | c.FirstStageExperiment:
    """What a state dict of these shapes is of.

    Raises:
        InputError: of nothing that is known, or of networks that no shape tells apart.
    """
    if not any(key.startswith(PREFIXES) for key in shapes):
        tiny = tiny_names.is_whole(shapes)
        settings = (recognise.tiny_autoencoder if tiny else recognise.autoencoder)(shapes)
        return c.FirstStageExperiment(model=settings)
    found = {name: e for name, (e, wanted) in models().items() if has(wanted, shapes)}
    if not found:
        raise InputError(f"no model in {CONFIGS} has these keys and shapes: expected --config")
    if len({(network(e.model), network(e.first_stage.model)) for e in found.values()}) > 1:
        raise InputError(f"these may be the keys of {', '.join(found)}: expected --config")
    return next(iter(found.values()))


def pairs(of: Whole, part: Part, shapes: Shapes, golden: Mapping, prefix: str) -> compare.Pairs:
    """Our and the original's outputs of one network.

    Args:
        prefix: of the names that weights were drawn from, where the keys have none.

    Raises:
        InputError: the keys are not those of the network.
    """
    start = f"{part.name}/"
    rows = [
        row._replace(path=row.path.removeprefix(start))
        for row in of.table
        if row.path.startswith(start)
    ]
    absent = [key for row in rows for key in row.keys if key not in shapes]
    if absent:
        raise InputError(f"{len(absent)} keys are missing, such as {absent[0]}: expected all")
    state = drawn.state({key: shapes[key] for row in rows for key in row.keys}, prefix)
    params = tables.to_here(rows, state)
    inputs = {name: golden[name] for name in golden.files if golden[name].dtype.kind in "iuf"}
    with jax.default_matmul_precision("highest"):
        outputs = jax.jit(lambda params: part.call(params, inputs))(params)
    return {name: (np.asarray(x), golden[name]) for name, x in outputs.items() if name in golden}


def compared(name: str, of: Whole, shapes: Shapes, golden: Mapping, prefix: str = "") -> bool:
    """Prints rows of the table; whether everything is close."""
    worst, seen = 0.0, set()
    for part in of.parts:
        if set(part.takes) <= set(golden.files):
            found = pairs(of, part, shapes, golden, prefix)
            print(compare.table(name, found), flush=True)
            worst = max([worst, *(relative for _, relative in compare.measured(found).values())])
            seen |= found.keys() | {*part.takes, "context", "vector"}
            jax.clear_caches()  # or every network's constants and programs stay in memory
    rest = [array for array in golden.files if array not in seen]
    if rest:
        print(f"{name}: not compared: {', '.join(rest)}", file=sys.stderr)
    return worst < TOLERANCE and bool(seen)


def main() -> int:
    """Prints the table; 1 where something is further off than the tolerance, or not recognised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, required=True, help="folder of NAME.npz")
    parser.add_argument("--keys", type=Path, required=True, help="folder of NAME.json")
    parser.add_argument(
        "--config", type=Path, help="what the NAMEs are, if no config has their keys"
    )
    parser.add_argument(
        "--prefix", default="", help="before the keys, in the names that weights were drawn from"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all in both folders")
    arguments = parser.parse_args()
    both = [
        {p.stem for p in arguments.golden.glob("*.npz")},
        {p.stem for p in arguments.keys.glob("*.json")},
    ]
    close = True
    print("| configuration | array | max error | relative to max |\n|---|---|---|---|")
    for name in arguments.names or sorted(both[0] & both[1]):
        try:
            shapes = json.loads((arguments.keys / f"{name}.json").read_text())
            shapes = {key: tuple(shape) for key, shape in shapes.items()}
            golden = np.load(arguments.golden / f"{name}.npz")
            of = cli.load_config(arguments.config) if arguments.config else recognised(shapes)
            close &= compared(name, whole(of), shapes, golden, arguments.prefix)
        except (InputError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            close = False
    return 0 if close else 1


if __name__ == "__main__":
    sys.exit(main())
