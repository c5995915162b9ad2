"""Draws pictures from a trained latent diffusion model, or from a variational autoencoder's prior.

python sample.py RUN --num 16 --prompt "a large red circle at the center"
python sample.py RUN --interpolate 8
python sample.py --from PNG --steps 50

Writes DIR/000000.png ..., DIR/grid.png, DIR/samples.npz and DIR/report.json. Picture i belongs to
seed S + i alone, whatever the batch size; prompts (or labels) are taken in turn.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ldm_jax import cli, exported, memory, pictures, prior_request, request, runs, sampling
from ldm_jax.config import GridName, SamplerName, ScheduleName
from ldm_jax.diffusion.samplers.names import SAMPLERS
from ldm_jax.errors import InputError


def _option(name: str, what: str):
    """An option of some samplers."""
    return tyro.conf.arg(help=f"{what}; of {', '.join(sampling.takers_of(name))}")


@dataclass(frozen=True)
class Pictures:
    """What is drawn, and where it is written."""

    out: str | None = None
    """folder to write to; RUN/samples-seedS where not given"""
    checkpoint: str | None = None
    """which of the run's: a step, or best, by train.best; the newest where not given"""
    num: int | None = None
    """pictures; one for each prompt or label, or 16, where not given"""
    batch_size: int | None = None
    """pictures that are drawn at once; 16, or fewer where there are fewer, where not given"""
    seed: int = 0
    from_: Annotated[str | None, tyro.conf.arg(name="from", metavar="PNG")] = None
    """a picture that this tool wrote, to draw it again; what is given beside it takes the place of
    what it says. Written to RUN/again-NAME where not given, and RUN need not be"""
    prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    prompts_file: str | None = None
    """a text file with a prompt a line, in place of these"""
    label: Annotated[tuple[str, ...], tyro.conf.arg(metavar="L ...")] = ()
    """classes, by number or by name; of the model, or of the classifier that guides it"""
    latents: str | None = None
    """a .npy of standard normal noise [N, h, w, c] to start from"""
    safety_check: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """a safety checker of diffusers' layout; pictures of its concepts are made black"""
    watermark: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """hide this in each picture, by the package invisible-watermark"""
    tile: int | None = None
    """decode by tiles of so many latents a side, which needs less memory"""
    param_dtype: Literal["float32", "bfloat16"] | None = None
    """of the weights; bfloat16 takes half of the memory. What is computed stays as it was"""
    compiled: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """programs that scripts/export.py wrote, in place of a run: nothing is traced"""
    decode_with: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """run of a first stage on the same latents, such as a tiny autoencoder, in place of the
    model's own decoder"""
    preview_every: int | None = None
    """write what the model expects after every so many steps to DIR/previews, too"""
    preview_with: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """run of a first stage, such as a tiny autoencoder, for these; the decoder where not given"""
    frames: int | None = None
    """so many pictures on a walk from the prompt to --to-prompt, from the seed to --to-seed"""
    to_prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    """where the walk leads, straight from one to the next in what the tower makes of them"""
    to_seed: Annotated[tuple[int, ...], tyro.conf.arg(metavar="S ...")] = ()
    """where it leads, on the sphere from the noise of one to that of the next"""
    gif: float | None = None
    """write them to DIR/walk.gif, too, so many a second, at most 100"""
    interpolate: int | None = None
    """of a variational autoencoder: so many pictures a row, between the draws of two seeds"""


@dataclass(frozen=True)
class Told:
    """What a model is told, by the task that it was trained for."""

    boxes: str | None = None
    """a .json of boxes [x, y, width, height, class] in parts of the picture, or of several lists"""
    segmentation: str | None = None
    """a picture whose values are classes"""
    low_resolution: str | None = None
    """a small picture to enlarge"""
    noise_level: int | None = None
    """how much noise is put on it, where the model is told so, 20 where not given; or on what
    unCLIP sees in a picture to vary, 0 where not given"""
    depth: str | None = None
    """a picture that is brighter where things are nearer, as MiDaS makes them, or a .npy [H, W]"""
    image: str | None = None
    """a picture to vary, of models that are told what CLIP sees in one; its middle is seen"""
    neighbours: str | None = None
    """a .npy of embeddings [k, dim], or a folder of such"""
    query: str | None = None
    """a .npy of embeddings [n, dim], taken in turn: each picture is told the nearest neighbours of
    one"""
    from_data: int | None = None
    """so many conditions of images of the run's data that were held out, in place of files"""
    size: Annotated[tuple[int, ...], tyro.conf.arg(metavar="H W")] = ()
    """height and width in pixels, where not those of training"""
    patch: int | None = None
    """denoise overlapping patches of so many latents a side, which needs less memory"""


@dataclass(frozen=True)
class Captioned:
    """How prompts are read, by models with CLIP's tower of captions."""

    emphasis: bool | None = None
    """True: (word:1.3) weighs 1.3, (word) 1.1, [word] 1 / 1.1, nested ones their product, and a
    backslash before a bracket leaves it as it is; else brackets are characters as any"""
    long_prompts: bool | None = None
    """True: prompts of more than 75 tokens are read in chunks of 75; else the rest is cut"""
    clip_skip: int | None = None
    """which layer of the tower is told, from its end; 1 is the one that the model learned with"""


@dataclass(frozen=True)
class Guided:
    """What else guides it."""

    negative_prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    """what to stay away from, taken in turn; needs guidance other than 1"""
    guidance_rescale: float | None = None
    """0 to 1, how much of the standard deviation that guidance adds is taken back"""
    guidance_interval: Annotated[tuple[float, ...], tyro.conf.arg(metavar="LOW HIGH")] = ()
    """levels of noise, sigma / alpha, between which there is guidance"""
    guidance_schedule: ScheduleName | None = None
    """how guidance goes from noise to data, its mean as asked; Wang et al. 2024; constant where not
    given"""
    compose: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    """prompts, all of which each picture is to show; Liu et al. 2022"""
    compose_weights: Annotated[tuple[float, ...], tyro.conf.arg(metavar="W ...")] = ()
    """how much each counts, times the guidance; 1 where not given, negative to stay away from it"""
    classifier: str | None = None
    """run of a classifier of noised latents, which guides to --label; Dhariwal and Nichol 2021"""
    classifier_scale: float | None = None
    """how much, 1 where not given"""
    threshold: float | None = None
    """dynamic thresholding: largest size of a latent, such as 3"""
    init_image: str | None = None
    """a picture to start from, noised in part"""
    strength: float | None = None
    """how much it is noised, more than 0 to 1; 0.75 where not given, 1 with a mask"""
    mask: str | None = None
    """a picture that is white where the first is to be made anew"""
    resample: int | None = None
    """with a mask, how often each few steps are taken, so that both parts fit; Lugmayr et al. 2022
    (RePaint)"""
    jump_length: int | None = None
    """how many steps those are; 10 where not given"""
    invert: bool | None = None
    """True: start from the noise behind the picture, which is written to latents.npy; Song, Meng
    and Ermon 2021 (DDIM inversion)"""
    source: str | None = None
    """prompt or label of what is inverted; none where not given"""


@dataclass(frozen=True)
class Walk:
    """How it goes from noise to data; where not given, as the run's config has it."""

    sampler: Annotated[
        SamplerName | None,
        tyro.conf.arg(
            metavar="NAME",
            help="\n".join(f"{name}: {kind.paper}" for name, kind in SAMPLERS.items()),
        ),
    ] = None
    steps: int | None = None
    grid: GridName | None = None
    """which times the sampler visits; "uniform" is the original's"""
    times: Annotated[tuple[float, ...], tyro.conf.arg(metavar="T ...")] = ()
    """in place of steps and grid: times from noise, at most the steps of the process, to data, 0"""
    guidance: float | None = None
    """scale of classifier-free guidance; 1 is none"""


@dataclass(frozen=True)
class Randomness:
    """Noise on the way; each of these is for some samplers only."""

    eta: Annotated[float | None, _option("eta", "0: none; 1: as much as DDPM")] = None
    s_churn: Annotated[float | None, _option("s_churn", "churn, over all steps")] = None
    s_tmin: Annotated[float | None, _option("s_tmin", "lowest sigma / alpha to churn")] = None
    s_tmax: Annotated[float | None, _option("s_tmax", "highest sigma / alpha to churn")] = None
    s_noise: Annotated[float | None, _option("s_noise", "size of churn's noise")] = None


@dataclass(frozen=True)
class Options:
    """The settings of sample.py."""

    pictures: Pictures = field(default_factory=Pictures)
    told: Told = field(default_factory=Told)
    captioned: Captioned = field(default_factory=Captioned)
    guided: Guided = field(default_factory=Guided)
    walk: Walk = field(default_factory=Walk)
    randomness: Randomness = field(default_factory=Randomness)


AROUND = ("out", "from_", "gif", "compiled")  # of no matter for which pictures are drawn


def parse(words: Sequence[str], default: Options | None = None) -> dict[str, Any]:
    """The settings by name, whatever their section."""
    options = cli.override(default or Options(), words, "sample.py RUN", __doc__, sections=False)
    return {name: v for part in vars(options).values() for name, v in vars(part).items()}


def again(said: dict[str, Any], settings: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The settings of a picture that is to be drawn again, with the words in place of some."""
    plain = parse(())
    given = {name for name in settings if settings[name] != plain[name]}
    found = request.remembered.settings(said, given)
    sections = {
        name: replace(part, **{field: found[field] for field in vars(part) if field in found})
        for name, part in vars(Options()).items()
    }
    settings = parse(words, Options(**sections))
    settings = {name: v for name, v in settings.items() if name not in AROUND}
    return settings | {"turn": found.get("turn", 0)}


def drawn_of(said: dict[str, Any], run: Path) -> str | None:
    """The checkpoint of a picture's own run that it was drawn of, where that is kept."""
    step = str(said.get("checkpoint"))
    kept = run == Path(str(said.get("run"))) and (run / "checkpoints" / step).is_dir()
    return step if kept else None


def check_rate(rate: float | None, settings: dict[str, Any]) -> None:
    """Raises InputError for frames a second that cannot be, or where there is no walk."""
    if rate is not None and not 0.0 < rate <= 100.0:
        raise InputError(f"--gif is {rate:g}: expected more than 0 and at most 100 frames a second")
    if rate is not None and not (settings["frames"] or settings["interpolate"]):
        raise InputError(f"--gif is {rate:g} without a walk: expected --frames N, too")


def draw_compiled(folder: str, run: str | None, out: str | None, settings: dict[str, Any]) -> None:
    """Draws with programs that were exported."""
    if run or settings.pop("checkpoint"):
        raise InputError(
            f"--compiled '{folder}' is a model by itself: leave RUN and checkpoint out"
        )
    memory.share_arenas(Path(folder).glob("*"))
    found = exported.load(folder)
    wanted = exported.resolve(found, **settings)
    place = Path(out or Path(folder) / f"samples-seed{wanted.seed}")
    cli.check_folder(place, "--out")
    drawn = exported.draw(found, wanted)
    request.write(place, drawn, found.described, wanted)
    print(f"{len(drawn.images)} pictures in {place}, together in {place / 'grid.png'}")


def main(words: Sequence[str]) -> None:
    """Parse, load, draw, write."""
    run, rest = (None, words) if not words or words[0].startswith("-") else (words[0], words[1:])
    settings = parse(rest)
    given, png, rate, compiled = (settings.pop(name) for name in AROUND)
    if png:
        said = request.remembered.read(png)
        settings = again(said, settings, rest)
        run = run or said.get("run")
        given = given or Path(run) / f"again-{Path(png).stem}"
    check_rate(rate, settings)
    if compiled:
        return draw_compiled(compiled, run, given, settings)
    if not run:
        raise InputError("no run: expected python sample.py RUN, a folder that train.py wrote")
    which = settings.pop("checkpoint") or (drawn_of(said, Path(run)) if png else None)
    place = runs.chosen(run, which)
    memory.share_arenas(runs.weights_files(place))
    described = runs.describe_any(place)
    kind = prior_request if isinstance(described, runs.TrainedFirstStage) else request
    wanted = kind.resolve(described, **settings)
    out = Path(given or described.run / f"samples-seed{wanted.seed}")
    cli.check_folder(out, "--out")
    trained = runs.with_weights(described, settings.get("param_dtype"))
    drawn = kind.draw(trained, wanted)
    kind.write(out, drawn, trained, wanted)
    if rate:
        pictures.animate(out / "walk.gif", drawn.images, rate)
    if png and trained.step != said.get("checkpoint"):
        print(
            f"warning: '{png}' was drawn of checkpoint {said.get('checkpoint')}, this of "
            f"{trained.step}",
            file=sys.stderr,
        )
    print(f"{len(drawn.images)} pictures in {out}, together in {out / 'grid.png'}")


if __name__ == "__main__":
    cli.main(main)
