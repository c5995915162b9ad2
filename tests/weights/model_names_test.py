"""Every configuration of the zoo has the keys and shapes of the original's own checkpoints."""

import gzip
import math
from pathlib import Path

import jax
import pytest

from ldm_jax import cli
from ldm_jax import config as c
from ldm_jax.conditioning.condition import find
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.weights import table
from ldm_jax.weights.names import model as names
from tests.support import traced_once

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "tests" / "parity" / "keys"
PUBLISHED = {  # file of keys -> config
    "ldm-bsr_sr": "bsr_sr",
    "ldm-celebahq-ldm-vq-4": "celebahq-ldm-vq-4",
    "ldm-cin-ldm-vq-f8": "cin-ldm-vq-f8",
    "ldm-cin256": "cin-ldm-vq-f8",
    "ldm-cin256-v2": "cin256-v2",
    "ldm-inpainting_big": "inpainting_big",
    "ldm-layout2img-openimages256": "layout2img-openimages256",
    "ldm-lsun_churches-ldm-kl-8": "lsun_churches-ldm-kl-8",
    "ldm-semantic_synthesis256": "semantic_synthesis256",
    "ldm-text2img256": "text2img256",
    "ldm-txt2img-1p4B-eval": "txt2img-1p4B",
    "rdm-768x768": "rdm-768x768",
}
PARAMETERS = {  # of the denoiser, as counted in the original's own classes
    "celebahq-ldm-vq-4": 274_056_163,
    "ffhq-ldm-vq-4": 274_056_163,
    "lsun_bedrooms-ldm-vq-4": 274_056_163,
    "lsun_churches-ldm-kl-8": 294_966_916,
    "cin256-v2": 400_920_579,
    "cin-ldm-vq-f8": 394_984_196,
    "txt2img-1p4B": 872_300_484,
    "text2img256": 403_623_939,
    "inpainting_big": 387_245_827,
    "bsr_sr": 113_622_563,
    "semantic_synthesis256": 215_229_315,
    "semantic_synthesis512": 215_229_315,
    "layout2img-openimages256": 246_277_379,
    "rdm-768x768": 1_335_480_400,
}
STABLE_DIFFUSION = {  # file of keys -> denoiser, width of its tokens, input channels
    "sd-v1-inference": (c.UNet(), 768, 4),
    "sd2-v2-inference": (c.UNet(head_channels=64, linear_projections=True), 1024, 4),
    "sd2-v2-inpainting-inference": (c.UNet(head_channels=64, linear_projections=True), 1024, 9),
}
OTHERS = {"sd2-v2-midas-inference", "sd2-x4-upscaling"}  # asked about by their configs alone


def published(name: str) -> dict[str, tuple[int, ...]]:
    """Key -> shape; without tables of the process and averages."""
    lines = gzip.decompress((KEYS / f"{name}.txt.gz").read_bytes()).decode().splitlines()
    pairs = (line.split(" ") for line in lines)
    return {key: tuple(int(n) for n in shape.split(",") if n) for key, shape in pairs}


def config(name: str, folder: str = "ldm") -> c.Experiment:
    return cli.load_config(ROOT / "configs" / folder / f"{name}.py")


def test_every_file_of_keys_and_every_config_is_covered():
    files = {path.name.removesuffix(".txt.gz") for path in KEYS.iterdir()}
    assert files == PUBLISHED.keys() | STABLE_DIFFUSION.keys() | OTHERS
    stems = {path.stem for path in (ROOT / "configs" / "ldm").glob("*.py")}
    assert stems - {"base"} == PARAMETERS.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_key_has_its_row_and_every_row_its_key(name):
    found = published(name)
    described = config(PUBLISHED[name]).original_names()
    wanted = table.shapes(described.table)
    wanted |= {copy: wanted[key] for copy, key in described.copies.items()}
    assert {key: s for key, s in found.items() if not names.ASIDE.fullmatch(key)} == wanted


@pytest.mark.parametrize("name", STABLE_DIFFUSION)
def test_stable_diffusions_denoiser_and_first_stage_have_theirs(name):
    unet, context, i = STABLE_DIFFUSION[name]
    given = names.ConditionNames(tokens=context, concat=i - 4)
    first_stage = c.KLAutoencoder().original_names()
    assert table.shapes(names.names(unet, 4, 4, first_stage, given).table) == published(name)


# config -> file of keys, parameters of CLIP's encoders, as transformers' own counts them; unCLIP's
# file has mean and deviation of an image's embedding too
SD = {
    "v1": ("sd-v1-inference", 123_060_480),
    "v1-inpainting": ("sd-v1-inference", 123_060_480),
    "v2-base": ("sd2-v2-inference", 340_387_840),
    "v2": ("sd2-v2-inference", 340_387_840),
    "v2-inpainting": ("sd2-v2-inpainting-inference", 340_387_840),
    "v2-depth": ("sd2-v2-midas-inference", 340_387_840),
    "x4-upscaler": ("sd2-x4-upscaling", 340_387_840),
    "v1-variations": ("sd-v1-inference", 303_966_208),
    "v2-1-unclip": ("sd2-v2-inference", 340_387_840 + 632_076_800 + 2 * 1024),
    "v2-1-unclip-small": ("sd2-v2-inference", 340_387_840 + 303_966_208 + 2 * 768),
}
VECTORS = {"v2-1-unclip": 2048, "v2-1-unclip-small": 1536}  # an embedding and that of its noise


def of_vectors(width: int) -> dict[str, tuple[int, ...]]:
    """What a UNet that takes a vector beside the time has more than one that does not."""
    first, second = (f"model.diffusion_model.label_emb.0.{i}." for i in (0, 2))
    return {
        first + "weight": (1280, width),
        first + "bias": (1280,),
        second + "weight": (1280, 1280),
        second + "bias": (1280,),
    }


@pytest.mark.parametrize("name", SD)
def test_a_config_of_stable_diffusion_has_the_keys_of_its_file(name):
    file, parameters = SD[name]
    there = published(file)
    if name == "v1-inpainting":  # which has five more channels, and else version 1's keys
        there |= {"model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)}
    if name in VECTORS:  # else version 2's keys
        there |= of_vectors(VECTORS[name])
    rows = config(name, "sd").original_names().table
    encoder = [row for row in rows if row.path.startswith("conditioner/")]
    assert table.shapes([row for row in rows if row not in encoder]) == there
    assert sum(len(row.keys) * math.prod(row.shape) for row in encoder) == parameters


def test_every_config_of_stable_diffusion_is_covered():
    published = {path.stem for path in (ROOT / "configs" / "sd").glob("[vx]*.py")}
    assert published == SD.keys()


@pytest.mark.parametrize(
    "key",
    [
        "transformer.text_model.embeddings.position_ids",
        "model.attn_mask",
        "model.text_projection",
        "model.logit_scale",
        "model.transformer.resblocks.23.attn.in_proj_weight",
        "transformer.text_model.encoder.layers.23.mlp.fc1.weight",
    ],
)
def test_what_files_hold_of_clip_in_addition_to_the_encoder_is_kept_aside(key):
    assert names.ASIDE.fullmatch("cond_stage_model." + key)


@pytest.mark.parametrize(
    "key", ["low_scale_model.betas", "depth_model.model.pretrained.model.norm.weight"]
)
def test_what_makes_a_condition_in_addition_to_the_model_is_kept_aside(key):
    assert names.ASIDE.fullmatch(key)


def shapes_here(experiment: c.Experiment) -> dict[str, tuple[int, ...]]:
    """Path -> shape of the parameters, by shapes alone."""
    condition = find(experiment.conditions, "tokens")
    tokenizer = tokens.learn(["a"], 64, condition.length) if condition else None
    model = experiment.build({"tokens": tokenizer})
    params = traced_once.shapes(model.init, jax.random.key(0))
    params |= {"first_stage": traced_once.shapes(model.first_stage.init, jax.random.key(0))}
    found = {path: x.shape for path, x in table.flattened(params).items()}
    return {p: s for p, s in found.items() if p not in ("first_stage/shift", "first_stage/scale")}


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_has_a_row_of_its_shape(name):
    experiment = config(name)
    rows = experiment.original_names().table
    here = shapes_here(experiment)
    assert here.keys() == {row.path for row in rows}
    assert len(rows) == len(here)
    for row in rows:
        there = len(row.keys) * math.prod(row.shape)
        if not row.path.endswith("token/embedding"):  # of the tokenizer
            assert math.prod(here[row.path]) == there, row.path
    unet = sum(math.prod(shape) for path, shape in here.items() if path.startswith("denoiser/"))
    assert unet == PARAMETERS[name]
