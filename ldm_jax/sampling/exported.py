"""A trained model as a program that needs no tracing, and no code of its networks.

FOLDER/export.json           what is here: shapes, types, platforms, sampler, source
FOLDER/sample.stablehlo      `generate.make_generate` of the model, by `jax.export`: it calls
                             (params, {"inputs", "negative", "seeds", "times", "guidance",
                             "options"}) -> images [B, H, W, 3] in [-1, 1]
FOLDER/weights.safetensors   its params, without the encoder
FOLDER/config.py, tokenizer.json, classes.txt    as in a run
FOLDER/adapters/NAME/config.py    settings of each adapter that acts at each step; the program then
                             takes "scales", too, and what the adapter reads is among "inputs"

`load` reads such a folder and `draw` draws with it what `sampling.draw` draws of the run. The
program is compiled where it is loaded, or found in the cache of compiled programs.
"""

import importlib.util
import json
from collections.abc import Callable, Sequence
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
from ldm_jax.errors import InputError, reading
from ldm_jax.experiments.train import check_batch
from ldm_jax.runtime.files import UNFINISHED, whole_folder
from ldm_jax.sampling.adapters import plain_scales
from ldm_jax.sampling.custom_calls import check_custom_calls
from ldm_jax.sampling.drawing import Drawn, describe, inputs_of, merged, padded_times
from ldm_jax.sampling.generate import Extras, each_batch, make_generate
from ldm_jax.sampling.request import asked
from ldm_jax.sampling.sampler import settings
from ldm_jax.sampling.size import Size
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request, RunView, flag
from ldm_jax.sections import seeds as seeds_of
from ldm_jax.settings import check_folder, is_of
from ldm_jax.types import Array, Batch, Params
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.table import flattened, nested

VERSION = 3  # of the program's arguments
PROGRAM, ABOUT, ADAPTERS = "sample.stablehlo", "export.json", "adapters"  # files
FACTS = {  # of export.json, and their types
    **dict.fromkeys(("run", "sampler", "jax"), str),
    **dict.fromkeys(("checkpoint", "batch_size"), int),
    **dict.fromkeys(("platforms", "parts"), list[str]),
    "size": list[int],
    "param_dtype": str | None,
}
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


class Exported(NamedTuple):
    """A folder that was loaded.

    described: the model without its weights, as `runs.describe` has it
    program:   callable, compiled when it is first called
    about:     export.json
    """

    described: runs.Trained
    program: Callable[[Params, dict[str, Any]], Array]
    params: Params
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
        batch_size: images that the program makes at once.
        sampler: whose step is exported; its options, times and guidance stay free.
        size: height and width of the images; (): as trained.
        platforms: for which the program is lowered, of PLATFORMS; (): the one this runs on.
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
    size = run.size(tuple(size))
    run = run._replace(adapters=tuple(one for one in trained.adapters if _at_each_step(one)))
    given, program = _arguments(run, batch_size, sampler, size), _program(run, sampler, size)
    params = _params(trained, run)
    exported = jax_export.export(jax.jit(program), platforms=platforms)(_shapes(params), given)
    weights = {name: np.asarray(x) for name, x in flattened(params).items()}
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
        "parts": list(params),
        "adapters": [_text(one.word) for one in run.adapters],
        "jax": jax.__version__,
        "ldm_jax": ldm_jax.__version__,
        "takes": jax.tree.map(_described, given),
        "gives": _described(exported.out_avals[0]),
    }
    with whole_folder(out) as folder:
        (folder / PROGRAM).write_bytes(bytes(exported.serialize()))
        write_weights(folder / "weights.safetensors", weights)
        runs.write_described(run.adapters, folder / ADAPTERS)
        runs.write_description(folder, trained.experiment, trained.tokenizers, trained.class_names)
        (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", "utf-8")
    return about


def _at_each_step(adapter: runs.Attached) -> bool:
    """Whether it is part of the program, and not of the weights alone."""
    return adapter.adapter.encode is not None


def _params(trained: runs.Trained, run: RunView) -> Params:
    """What the program is given of a model's."""
    params = {
        part: {name: tree for name, tree in trained.params[part].items() if name != "encoder"}
        for part in ("first_stage", "denoiser", "conditioner")
    }
    if run.adapters:
        own = trained.params["adapters"]
        params["adapters"] = {one.name: own[one.name] for one in run.adapters}
    return params


def _text(word: Any) -> str:
    """What --adapter says of an adapter by its name."""
    return f"{word.name}:{word.scale:.6f}@{word.start:.6f}-{word.end:.6f}"


def _program(
    run: RunView, sampler: str, size: tuple[int, int]
) -> Callable[[Params, dict[str, Any]], Array]:
    """What is exported."""
    generate = make_generate(run.model, build_sampler(sampler), size)
    form = jax.tree.structure(sampling.arguments(Sampling(sampler=sampler)))
    scales = jax.tree.structure(plain_scales(run))
    noise_scale = run.experiment.sampling.noise_scale

    def program(params: Params, given: dict[str, Any]) -> Array:
        plain = [given[name] for name in ("inputs", "seeds", "times", "guidance")]
        extras = Extras(negative=given["negative"], noise_scale=noise_scale)
        options = form.unflatten(given["options"])
        if "scales" in given:
            params = {**params, "scales": scales.unflatten(given["scales"])}
        return generate(params, *plain, options, extras=extras)

    return program


def check_out(out: Path) -> None:
    """Raises InputError for a folder that cannot be filled, or that holds anything but an export,
    such as a run, whose files would be written over."""
    check_folder(out, "--out")
    there = {file.name for file in out.iterdir()} if out.is_dir() else set()
    if there - {UNFINISHED} and ABOUT not in there:
        raise InputError(
            f"--out '{out}' has files that export.py did not write: expected a new folder, or one "
            f"with {ABOUT}"
        )


def _described(x: Any) -> str:
    """Type and shape of an array, as JSON has them."""
    return f"{x.dtype}{list(x.shape)}"


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
    run: RunView, batch_size: int, sampler: str, size: tuple[int, int]
) -> dict[str, Any]:
    """The shapes of what the program takes."""
    null = run.model.conditioner.null(batch_size, *run.latent_shape(size)[:2])
    scales = {"scales": jax.tree.leaves(plain_scales(run))} if run.adapters else {}
    return _shapes(
        {
            "inputs": null,
            "negative": null,
            "seeds": np.zeros(batch_size, np.uint32),
            "times": np.zeros(run.model.process.T + 1, np.float32),
            "guidance": np.float32(1),
            "options": _options(Sampling(sampler=sampler)),
            **scales,
        }
    )


def _options(chosen: Sampling) -> list[np.float32]:
    """The numbers in the sampler's arguments, without the classes that they are in."""
    return [np.float32(x) for x in jax.tree.leaves(sampling.arguments(chosen))]


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def load(folder: Path | str) -> Exported:
    """Reads what `write` wrote; no network is traced.

    Raises:
        InputError: not such a folder, one for other platforms, or one that jax cannot read.
    """
    check_installed()
    folder = Path(folder)
    with reading(f"--compiled '{folder}'", "a folder that scripts/export.py wrote"):
        about = dict(json.loads((folder / ABOUT).read_text("utf-8")))
    if about.get("version") != VERSION:
        raise InputError(
            f"--compiled '{folder}' has a program of version {about.get('version', 1)}: expected "
            f"{VERSION}, export again"
        )
    lacking = sorted(FACTS.keys() - about.keys())
    wrong = lacking or [name for name, kind in FACTS.items() if not is_of(about[name], kind)]
    if wrong:
        raise InputError(
            f"--compiled '{folder}': {ABOUT} says that {wrong[0]} is {about.get(wrong[0])!r}: "
            "expected what scripts/export.py wrote; export again"
        )
    if _here() not in about["platforms"]:
        raise InputError(
            f"--compiled '{folder}' is for {', '.join(about['platforms'])}: expected {_here()}, "
            f"export with --platforms {','.join((*about['platforms'], _here()))}"
        )
    try:
        read = jax_export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    except Exception as error:
        raise InputError(
            f"--compiled '{folder}': {PROGRAM} cannot be read ({error}); it was written with jax "
            f"{about['jax']}: export again"
        ) from error
    check_custom_calls(read.mlir_module(), f"--compiled '{folder}': {PROGRAM}")
    weights = nested(read_weights(folder / "weights.safetensors"))
    params = jax.tree.map(jnp.asarray, weights)  # on one device, for which the program is
    params = {part: params.get(part, {}) for part in about["parts"]}
    described = runs.describe_files(folder, Path(about["run"]), about["checkpoint"])
    if texts := about.get("adapters"):
        if not is_of(texts, list[str]) or any("/" in text for text in texts):
            raise InputError(
                f"--compiled '{folder}': {ABOUT} says that adapters is {texts!r}: expected their "
                "names; export again"
            )
        words = [runs.parsed(str(folder / ADAPTERS / text)) for text in texts]
        described = runs.attach_described(described, words)
    return Exported(described, jax.jit(read.call), params, about)


def resolve(exported: Exported, **options: Any) -> Request:
    """The request of options of sample.py by name, if the program can do it; see `filled`."""
    return filled(exported, asked(view(exported.described), **options))


def filled(exported: Exported, request: Request) -> Request:
    """A request with the run's own settings, and what was exported.

    Raises:
        InputError: what the model, or this program of it, cannot be asked for.
    """
    about, size = exported.about, tuple(exported.about["size"])
    fixed = {"sampler": about["sampler"], "param_dtype": about["param_dtype"], "size": size}
    for section in request:
        for name, value in section.given.items():
            if name not in section.exportable:
                raise InputError(
                    f"{flag(name)} is {value}: leave it out with --compiled, whose program does "
                    "not have it"
                )
            if value != fixed.get(name, value):
                given, own = (
                    " ".join(map(str, x)) if name == "size" else x for x in (value, fixed[name])
                )
                raise InputError(f"{flag(name)} is {given}: expected {own}, as was exported")
    run = view(exported.described)
    fixed |= {"batch_size": about["batch_size"], "size": () if size == run.size() else size}
    if "adapters" in request:
        fixed["adapter"] = _adapters(run, request.adapters.adapter)
    request = request.replace(**fixed)
    return request.filled(_with_scales(run, request))


def _adapters(run: RunView, given: Sequence[str]) -> tuple[str, ...]:
    """What --adapter says of all adapters in the export, of which `given` says it by name."""
    texts = {one.name: (one.word.place, _text(one.word)) for one in run.adapters}
    for text in given:
        name = text.partition(":")[0]
        if name not in texts:
            raise InputError(
                f"--adapter '{text}' is not in the export: expected NAME[:SCALE[@START-END]], of "
                f"{', '.join(texts) or 'none'}"
            )
        texts[name] = (texts[name][0], text)
    return tuple(place + text.removeprefix(Path(place).name) for place, text in texts.values())


def _with_scales(run: RunView, request: Request) -> RunView:
    """The run with its adapters as the request has them."""
    words = map(runs.parsed, request.adapters.adapter) if "adapters" in request else ()
    pairs = zip(run.adapters, words, strict=True)
    return run._replace(adapters=tuple(one._replace(word=word) for one, word in pairs))


def draw(exported: Exported, request: Request) -> Drawn:
    """The images of a request."""
    run = _with_scales(view(exported.described), request)
    print(f"{describe(request, run)}; compiled ahead of time", flush=True)
    conditioner = run.model.conditioner
    inputs = inputs_of(request, run) | merged(section.each(request, run) for section in request)
    fixed = {
        "times": padded_times(request, run),
        "guidance": np.float32(request.guidance.guidance),
        "options": _options(settings(request)),
    }
    if run.adapters:
        fixed["scales"] = jax.tree.leaves(request.adapters.scales(request, run))
    latents = run.latent_shape(request.size.size)[:2]

    def one_batch(chosen: Batch, seeds: np.ndarray) -> Array:
        null = conditioner.null(len(seeds), *latents)
        own = {name: chosen[name] for name in conditioner.keys}
        negative = {name: chosen.get(f"negative.{name}", null[name]) for name in conditioner.keys}
        given = {**fixed, "inputs": own, "negative": negative, "seeds": seeds}
        return exported.program(exported.params, given)

    images = list(each_batch(one_batch, inputs, seeds_of(request), request.images.batch_size))
    drawn = image_files.to_uint8(np.concatenate(images))
    return Drawn(request.finishing.apply(drawn, request.images.batch_size))
