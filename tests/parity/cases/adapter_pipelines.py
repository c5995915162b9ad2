"""Whole pipelines with adapters on this side, drawn as `sample.py` draws them, of files.

python -m tests.parity.cases.adapter_pipelines     prints how far they are from the reference
"""

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from ldm_jax import runs
from ldm_jax.adapters.controlnet import ControlNet
from ldm_jax.adapters.settings import Base
from ldm_jax.adapters.t2i_adapter import T2IAdapter
from ldm_jax.config import Data
from ldm_jax.sampling import drawing, request
from ldm_jax.weights import table
from ldm_jax.weights.formats.files import write_weights
from tests.parity import compare
from tests.parity.cases import adapter_pipeline_cases as cases
from tests.parity.cases import pipeline_cases, pipelines
from tests.parity.cases.networks import channels_first, channels_last
from tests.parity.folders import ARRAYS


def tokenizer() -> Tokenizer:
    """Of captions of the words 0, 1, ... of these numbers, with ends as CLIP has them."""
    text = pipeline_cases.TEXT
    first, last = text["bos_token_id"], text["eos_token_id"]
    vocab = {str(i): i for i in range(text["vocab_size"])}
    made = Tokenizer(models.WordLevel(vocab, unk_token="0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(str(i), i) for i in (first, last)]
    made.post_processor = processors.TemplateProcessing(f"{first} $A {last}", None, ends)
    length = text["max_position_embeddings"]
    made.enable_truncation(length)
    made.enable_padding(pad_id=last, pad_token=str(last), length=length)
    return made


def caption(ids: np.ndarray) -> str:
    """Without the first and the last, which the tokenizer adds."""
    return " ".join(str(i) for i in ids[1:] if i != pipeline_cases.TEXT["eos_token_id"])


@functools.cache
def base() -> runs.Trained:
    """The small Stable Diffusion, whose images are its latents."""
    data = Data(image_size=cases.SIDE * cases.FACTOR)
    experiment = replace(pipelines.experiment("text"), data=data)
    model, f = pipelines.model_of("text"), cases.FACTOR

    def decode(params, z):  # [B, h, w, f^2] -> a block of f x f pixels, grey
        B, h, w, _ = z.shape
        x = z.reshape(B, h, w, f, f).transpose(0, 1, 3, 2, 4).reshape(B, h * f, w * f, 1)
        return x.repeat(3, axis=-1) / pipelines.LARGEST

    model = model._replace(first_stage=model.first_stage._replace(decode=decode))
    return runs.Trained(Path("run"), experiment, model, {}, {"tokens": tokenizer()}, (), 0)


def latents_of(images: np.ndarray) -> np.ndarray:
    """The inverse of `base`'s decode, laid out as diffusers has latents."""
    B, H, W, _ = images.shape
    f = cases.FACTOR
    x = images[..., 0].reshape(B, H // f, f, W // f, f).transpose(0, 1, 3, 2, 4)
    return channels_first(x.reshape(B, H // f, W // f, f * f)) * pipelines.LARGEST


def weights(name: str) -> dict[str, np.ndarray]:
    """An adapter as its file has it, in diffusers' or the published names."""
    if name == "prompt":
        return cases.image_prompt()
    if name == "weights":
        return cases.low_rank()
    of = Base(base().experiment, base().model)
    if name in cases.NETS:
        rows = ControlNet(stem=(16, 32), layout="diffusers").table(of)
    else:
        sites = of.model.backbone.sites
        blocks = cases.T2I["num_res_blocks"]
        rows = T2IAdapter(blocks=blocks, layout="diffusers").table(sites, of.factor)
    return pipeline_cases.weights(name, table.shapes(rows))


def options(case: cases.Case, folder: Path) -> dict:
    """Options of `sample.py`, whose files are written to a folder."""
    found: dict = {"adapter": [], "hint": [], "image_prompt": []}
    for name, (scale, start, end) in case.words.items():
        file = folder / f"{name}.safetensors"
        write_weights(file, weights(name))
        window = f"@{start}-{end}" * ((start, end) != (0, 1))
        found["adapter"].append(f"{file}:{scale}{window}")
        for i, hint in enumerate(cases.HINTS.get(name, ())):
            Image.fromarray(hint).save(folder / f"{name}-{i}.png")
            found["hint"].append(f"{name}={folder / f'{name}-{i}.png'}")
    np.save(folder / "noise.npy", channels_last(pipeline_cases.NOISE))
    np.save(folder / "prompt.npy", cases.PROMPT)
    Image.fromarray(cases.IMAGE).save(folder / "image.png")
    Image.fromarray(cases.MASK).save(folder / "mask.png")
    if "prompt" in case.words:
        found["image_prompt"] = [str(folder / "prompt.npy")]
    if case.image:
        found |= {"init_image": str(folder / "image.png"), "strength": cases.STRENGTH}
    if case.mask:
        found["mask"] = str(folder / "mask.png")
    return found | {
        "prompt": [caption(ids) for ids in pipeline_cases.IDS],
        "sampler": "ddim",
        "steps": pipeline_cases.STEPS,
        "spacing": "uniform",
        "guidance": pipeline_cases.GUIDANCE,
        "latents": str(folder / "noise.npy"),
        "guess": case.guess,
    }


def ours(case: cases.Case, folder: Path) -> np.ndarray:
    """The latents at the end."""
    said, kept = options(case, folder), []
    described = runs.attach(base(), said["adapter"])
    asked = request.resolve(described, **said)
    trained = described._replace(params=described.join(pipelines.params("text")))
    generate = drawing.compiled(trained, asked)

    def keeping(*inputs):
        kept.append(generate(*inputs))
        return kept[-1]

    with jax.default_matmul_precision("highest"):
        list(drawing.draw_in_turn(trained, asked, generate=keeping))
    return latents_of(np.concatenate(kept))


def pairs(name: str, folder: Path) -> compare.Pairs:
    """Ours and the reference; where there is a mask, inside it: outside are the image's pixels."""
    case = cases.CASES[name]
    with np.load(ARRAYS / "adapter_pipelines.npz") as reference:
        both = ours(case, folder), reference[name]
    if case.mask:
        inside = cases.MASK[:: cases.FACTOR, :: cases.FACTOR] > 0
        both = tuple(x[..., inside] for x in both)
    return {name: both}


if __name__ == "__main__":
    for each in cases.CASES:
        with tempfile.TemporaryDirectory() as place:
            print(compare.table("pipeline", pairs(each, Path(place))), flush=True)
