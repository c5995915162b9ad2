"""What sample.py can be asked, section by section, with what its --help says of each."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ldm_jax.config import GridName, SamplerName, ScheduleName
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import SAMPLERS


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
    """images; one for each prompt or label, or 16, where not given"""
    batch_size: int | None = None
    """images that are drawn at once; 16, or fewer where there are fewer, where not given"""
    seed: int = 0
    from_: Annotated[str | None, tyro.conf.arg(name="from", metavar="PNG")] = None
    """an image that this tool wrote, to draw it again; what is given beside it takes the place of
    what it says. Written to RUN/again-NAME where not given, and RUN need not be"""
    prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    prompts_file: str | None = None
    """a text file with a prompt a line, in place of these"""
    label: Annotated[tuple[str, ...], tyro.conf.arg(metavar="L ...")] = ()
    """classes, by number or by name; of the model, or of the classifier that guides it"""
    latents: str | None = None
    """a .npy of standard normal noise [N, h, w, c] to start from"""
    safety_check: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """a safety checker of diffusers' layout; images of its concepts are made black"""
    watermark: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """hide this in each image, by the package invisible-watermark"""
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
    """so many images on a walk from the prompt to --to-prompt, from the seed to --to-seed"""
    to_prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")] = ()
    """where the walk leads, straight from one to the next in what the tower makes of them"""
    to_seed: Annotated[tuple[int, ...], tyro.conf.arg(metavar="S ...")] = ()
    """where it leads, on the sphere from the noise of one to that of the next"""
    gif: float | None = None
    """write them to DIR/walk.gif, too, so many a second, at most 100"""
    interpolate: int | None = None
    """of a variational autoencoder: so many images a row, between the draws of two seeds"""


@dataclass(frozen=True)
class Told:
    """What a model is told, by the task that it was trained for."""

    boxes: str | None = None
    """a .json of boxes [x, y, width, height, class] in parts of the image, or of several lists"""
    segmentation: str | None = None
    """an image whose values are classes"""
    low_resolution: str | None = None
    """a small image to enlarge"""
    noise_level: int | None = None
    """how much noise is put on it, where the model is told so, 20 where not given; or on what
    unCLIP sees in an image to vary, 0 where not given"""
    depth: str | None = None
    """an image that is brighter where things are nearer, as MiDaS makes them, or a .npy [H, W]"""
    image: str | None = None
    """an image to vary, of models that are told what CLIP sees in one; its middle is seen"""
    neighbours: str | None = None
    """a .npy of embeddings [k, dim], or a folder of such"""
    query: str | None = None
    """a .npy of embeddings [n, dim], taken in turn: each image is told the nearest neighbours of
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
    """prompts, all of which each image is to show; Liu et al. 2022"""
    compose_weights: Annotated[tuple[float, ...], tyro.conf.arg(metavar="W ...")] = ()
    """how much each counts, times the guidance; 1 where not given, negative to stay away from it"""
    classifier: str | None = None
    """run of a classifier of noised latents, which guides to --label; Dhariwal and Nichol 2021"""
    classifier_scale: float | None = None
    """how much, 1 where not given"""
    threshold: float | None = None
    """dynamic thresholding: largest size of a latent, such as 3"""
    init_image: str | None = None
    """an image to start from, noised in part"""
    strength: float | None = None
    """how much it is noised, more than 0 to 1; 0.75 where not given, 1 with a mask"""
    mask: str | None = None
    """an image that is white where the first is to be made anew"""
    resample: int | None = None
    """with a mask, how often each few steps are taken, so that both parts fit; Lugmayr et al. 2022
    (RePaint)"""
    jump_length: int | None = None
    """how many steps those are; 10 where not given"""
    invert: bool | None = None
    """True: start from the noise behind the image, which is written to latents.npy; Song, Meng
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
