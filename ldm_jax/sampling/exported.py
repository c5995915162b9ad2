"""A trained model as programs that need no tracing, and no code of its networks.

FOLDER/export.json                  what is here: shapes, types, platforms, sampler, source
FOLDER/{condition,start,step,decode}.stablehlo   see `sampling/programs.py`, by `jax.export`
FOLDER/weights.safetensors          their weights, once: arguments of the programs
FOLDER/config.py, tokenizer.json, classes.txt    as in a run

`load` reads such a folder and `draw` draws with it what `sampling.draw` draws of the run. A program
is compiled where it is loaded, or found in the cache of compiled programs.
"""

import importlib.util
import itertools
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

import ldm_jax
from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.errors import InputError
from ldm_jax.experiments.train import check_batch
from ldm_jax.sampling.custom_calls import check_custom_calls
from ldm_jax.sampling.drawing import Drawn, inputs_of
from ldm_jax.sampling.generate import each_batch
from ldm_jax.sampling.programs import Programs, make_programs
from ldm_jax.sampling.request import asked
from ldm_jax.sampling.sampler import settings
from ldm_jax.sampling.size import Size
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request, default, flag
from ldm_jax.sections import seeds as seeds_of
from ldm_jax.types import Batch, Params
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.table import flattened, nested

VERSION = 2  # of the programs' arguments
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
PARTS = {"condition": "conditioner", "step": "denoiser", "decode": "first_stage"}


class Exported(NamedTuple):
    """A folder that was loaded.

    described: the model without its weights, as `runs.describe` has it
    programs:  callable, compiled when they are first called
    params:    by the programs that take them
    about:     export.json
    """

    described: runs.Trained
    programs: Programs
    params: dict[str, Params]
    about: dict[str, Any]


def write(
    trained: runs.Trained,
    out: Path,
    *,
    batch_size: int,
    sampler: str,
    size: Sequence[int] = (),
    platforms: Sequence[str] = (),
) -> dict[str, Any]:
    """Exports a model to a folder; what export.json says.

    Args:
        batch_size: images that the programs make at once.
        sampler: whose step is exported; its options, times and guidance stay free.
        size: height and width of the images; (): as trained.
        platforms: for which the programs are lowered, of PLATFORMS; (): the one this runs on.
            Attention is as the platform that this runs on has it: for another one's own kernels,
            export there.

    Raises:
        InputError: a model of other conditions than captions and labels, a size that it cannot
            have, or no such platform.
    """
    check_exportable(trained)
    check_batch(batch_size, "--batch")
    platforms = tuple(platforms) or (_here(),)
    for name in (name for name in platforms if name not in PLATFORMS):
        raise InputError(f"--platforms '{name}': expected some of {', '.join(PLATFORMS)}")
    run = view(trained)
    Size(tuple(size)).check_size(run)
    size, options = run.size(tuple(size)), sampling.arguments(Sampling(sampler=sampler))
    programs = make_programs(trained.model, build_sampler(sampler), options, size)
    shapes = _arguments(trained, programs, batch_size, options)
    out.mkdir(parents=True, exist_ok=True)
    weights = flattened({part: _needed(trained.params, part) for part in PARTS.values()})
    weights = {name: np.asarray(x) for name, x in weights.items()}
    write_weights(out / "weights.safetensors", weights)
    runs.write_description(out, trained)
    halved = any(x.dtype == jnp.bfloat16 for x in weights.values())
    about = {
        "version": VERSION,
        "run": str(trained.run),
        "checkpoint": trained.step,
        "sampler": sampler,
        "batch_size": batch_size,
        "size": list(size),
        "platforms": list(platforms),
        "param_dtype": "bfloat16" if halved else None,
        "jax": jax.__version__,
        "ldm_jax": ldm_jax.__version__,
        "programs": _write_programs(out, programs, shapes, platforms),
    }
    (out / "export.json").write_text(json.dumps(about, indent=2) + "\n")
    return about


def _write_programs(
    out: Path, programs: Programs, shapes: dict[str, tuple], platforms: Sequence[str]
) -> dict[str, Any]:
    """Lowers and writes each program; what export.json says of them."""
    about = {}
    for name, arguments in shapes.items():
        function = jax.jit(getattr(programs, name))
        program = jax_export.export(function, platforms=platforms)(*arguments)
        (out / f"{name}.stablehlo").write_bytes(bytes(program.serialize()))
        skipped = 1 if name in PARTS else 0  # the weights, which are in their file
        about[name] = {
            "weights": PARTS.get(name),
            "takes": _described(arguments[skipped:]),
            "gives": _described(jax.tree.unflatten(program.out_tree, program.out_avals)),
        }
    return about


def check_installed() -> None:
    """Raises InputError where jax lacks what it writes and reads programs with."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise InputError(
            "programs are written and read with flatbuffers, which is not installed: "
            "pip install flatbuffers"
        )


def check_exportable(trained: runs.Trained) -> None:
    """Raises InputError for a model that is conditioned on images, boxes or neighbours."""
    for condition in trained.experiment.conditions:
        if condition.sections and not any(s.exportable for s in condition.sections):
            raise InputError(
                f"run '{trained.run}' is of a model of {condition.kind}: expected one of captions, "
                "labels or nothing, which are what can be exported"
            )


def _here() -> str:
    backend = jax.default_backend()
    return {"gpu": "cuda"}.get(backend, backend)


def _arguments(
    trained: runs.Trained, programs: Programs, batch_size: int, options: dict[str, Any]
) -> dict[str, tuple]:
    """The shapes that each program takes."""
    scalar = jax.ShapeDtypeStruct((), np.float32)
    count = jax.ShapeDtypeStruct((), np.int32)
    seeds = jax.ShapeDtypeStruct((batch_size,), np.uint32)
    weights = {name: _shapes(_needed(trained.params, part)) for name, part in PARTS.items()}
    given = _shapes(
        {n: np.asarray(x) for n, x in trained.model.conditioner.null(batch_size).items()}
    )
    cond = jax.eval_shape(programs.condition, weights["condition"], given)
    z, keys, state = jax.eval_shape(programs.start, seeds, scalar)
    numbers = [scalar for _ in jax.tree.leaves(options)]
    step = ((cond, cond), z, keys, state, (count, scalar, scalar), scalar, numbers)
    return {
        "condition": (weights["condition"], given),
        "start": (seeds, scalar),
        "step": (weights["step"], *step),
        "decode": (weights["decode"], z),
    }


def _needed(params: Params, part: str) -> Params:
    """A part of the model's params, without the encoder, which no program has."""
    return {name: tree for name, tree in params[part].items() if name != "encoder"}


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _described(tree: Any) -> Any:
    """Shapes and types of a tree, as JSON has them."""
    return jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree)


def load(folder: Path | str) -> Exported:
    """Reads what `write` wrote; no network is traced.

    Raises:
        InputError: not such a folder, one for other platforms, or one that jax cannot read.
    """
    check_installed()
    folder = Path(folder)
    try:
        about = json.loads((folder / "export.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"--compiled '{folder}' is no export ({error}): expected a folder that "
            "scripts/export.py wrote"
        ) from error
    if about.get("version") != VERSION:
        raise InputError(
            f"--compiled '{folder}' has programs of version {about.get('version', 1)}: expected "
            f"{VERSION}, export again"
        )
    if _here() not in about["platforms"]:
        raise InputError(
            f"--compiled '{folder}' is for {', '.join(about['platforms'])}: expected {_here()}, "
            f"export with --platforms {','.join((*about['platforms'], _here()))}"
        )
    found = {}
    for name in Programs._fields:
        try:
            read = jax_export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes()))
        except Exception as error:
            raise InputError(
                f"--compiled '{folder}': {name}.stablehlo cannot be read ({error}); it was written "
                f"with jax {about['jax']}: export again"
            ) from error
        check_custom_calls(read.mlir_module(), f"--compiled '{folder}': {name}.stablehlo")
        found[name] = jax.jit(read.call)
    weights = nested(read_weights(folder / "weights.safetensors"))
    params = {  # on one device, for which the programs are
        name: jax.tree.map(jnp.asarray, weights.get(part, {})) for name, part in PARTS.items()
    }
    described = runs.describe_files(folder, Path(about["run"]), about["checkpoint"])
    return Exported(described, Programs(**found), params, about)


def resolve(exported: Exported, **options: Any) -> Request:
    """The request of options of sample.py by name, if the programs can do it; see `filled`."""
    return filled(exported, asked(view(exported.described), **options))


def filled(exported: Exported, request: Request) -> Request:
    """A request with the run's own settings, and what was exported.

    Raises:
        InputError: what the model, or these programs of it, cannot be asked for.
    """
    about, size = exported.about, tuple(exported.about["size"])
    if request.sampler.sampler not in (None, about["sampler"]):
        raise InputError(
            f"--sampler is {request.sampler.sampler}: expected {about['sampler']}, whose step was "
            "exported"
        )
    if request.size.size not in ((), size):
        given = " ".join(map(str, request.size.size))
        raise InputError(f"--size is {given}: expected {' '.join(map(str, size))}, as was exported")
    if request.size.param_dtype not in (None, about["param_dtype"]):
        raise InputError(
            f"--param-dtype is {request.size.param_dtype}: expected {about['param_dtype']}, as was "
            "exported"
        )
    _check_options(request)
    run = view(exported.described)
    fixed = {name: about[name] for name in ("sampler", "batch_size", "param_dtype")}
    fixed["size"] = () if size == run.size() else size
    return request.replace(**fixed).filled(run)


def _check_options(request: Request) -> None:
    """Raises InputError for an option that the programs do not have."""
    for section in request:
        for field in fields(section):
            value = getattr(section, field.name)
            if field.name not in section.exportable and value != default(field):
                raise InputError(
                    f"{flag(field.name)} is {value}: leave it out with --compiled, whose programs "
                    "do not have it"
                )


def draw(exported: Exported, request: Request) -> Drawn:
    """The images of a request."""
    run, programs, params = view(exported.described), exported.programs, exported.params
    conditioner, chosen = run.model.conditioner, settings(request)
    lines = [sampling.describe(chosen), *request.finishing.describe(request, run)]
    print("; ".join([*lines, "compiled ahead of time"]), flush=True)
    times = sampling.times(chosen, run.model.process)
    options = [np.float32(x) for x in jax.tree.leaves(sampling.arguments(chosen))]
    inputs = inputs_of(request, run)
    for section in request:
        inputs = inputs | section.each(request, run)

    def one_batch(chosen: Batch, seeds: np.ndarray) -> jax.Array:
        null = conditioner.null(len(seeds))
        conditional = {name: chosen[name] for name in conditioner.keys}
        unconditional = {
            name: chosen.get(f"negative.{name}", null[name]) for name in conditioner.keys
        }
        conds = tuple(
            programs.condition(params["condition"], jax.tree.map(jnp.asarray, each))
            for each in (conditional, unconditional)
        )
        z, keys, state = programs.start(seeds, times[0])
        guidance = np.float32(request.guidance.guidance)
        for k, (t, s) in enumerate(itertools.pairwise(times)):
            if t == s:  # where `samplers.loop` does not go, either
                continue
            step = z, keys, state, (np.int32(k), t, s), guidance, options
            z, state = programs.step(params["step"], conds, *step)
        return programs.decode(params["decode"], z)

    images = list(each_batch(one_batch, inputs, seeds_of(request), request.images.batch_size))
    drawn = image_files.to_uint8(np.concatenate(images))
    return Drawn(request.finishing.apply(drawn, request.images.batch_size))
