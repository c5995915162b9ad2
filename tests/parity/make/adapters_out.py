"""Adapters that scripts/convert.py writes, loaded by diffusers and PEFT beside a base of its own.

    pip install torch==2.13.0 diffusers==0.42.1 transformers peft==0.21.2
    python -m tests.parity.make.adapters_out write DIR     with this project, instant-clip-tokenizer
    python -m tests.parity.make.adapters_out check DIR     with torch, diffusers and PEFT

`write` makes the run of a small Stable Diffusion with drawn weights and that of an adapter of each
kind, converts all of them, and keeps the UNet's output for a prompt with each; stopped, it goes on
with what is missing. `check` loads what was converted by the functions that users call, and prints
how far its outputs are apart.

A ControlNet in the original's names is not among them: diffusers' from_single_file knows the
published stem alone, which halves a hint three times, and this base does so once.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.parity import compare
from tests.parity.cases import drawn

PROMPT = "a photo of a {} on a beach"
WORD, VECTORS = "<toy>", 2
SIDE, TIMESTEP = 8, 640
HINTS = {"controlnet": 3, "t2i": 3, "t2i-light": 1}
FILES = {  # name -> what it is written as
    "controlnet": "controlnet",
    "t2i": "t2i",
    "t2i-light": "t2i-light",
    "ip": "ip.safetensors",
    "ip-plus": "ip-plus.safetensors",
    "ip-full": "ip-full.safetensors",
    "lora": "lora.safetensors",
    "lora-kohya": "lora-kohya.safetensors",
    "lora-peft": "lora-peft",
    "word": "word.safetensors",
    "word-pt": "word.pt",
}
TOLERANCE = 1e-4


def settings() -> dict:
    """Name -> settings of an adapter."""
    from ldm_jax import config as c
    from ldm_jax.adapters.image_encoder import ImageEncoder

    eye = ImageEncoder("openai", 32, 3, 4, 24, 4, 16)
    plus = {"tokens": 3, "width": 32, "depth": 4, "heads": 2}
    # without out_proj diffusers 0.42.1 leaves out q, k and v of a text encoder in kohya's files
    layers = ("to_q", "to_v", "to_out.0", "conv1", "q_proj", "out_proj", "fc1")
    lora = c.LoRA(2, 1.0, layers, alpha_pattern=(("conv1", 5.0),), layout="diffusers")
    return {
        "controlnet": c.ControlNet(stem=(16, 32)),
        "t2i": c.T2IAdapter(),
        "t2i-light": c.T2IAdapter(hint_channels=1, size="light", blocks=4),
        "ip": c.IPAdapter(encoder=eye),
        "ip-plus": c.IPAdapter("resampler", encoder=eye, **plus),
        "ip-full": c.IPAdapter("full", encoder=eye),
        "lora": lora,
        "lora-kohya": replace(lora, layout="kohya"),
        "lora-peft": replace(lora, layout="peft"),
        **dict.fromkeys(("word", "word-pt"), c.TextualInversion(WORD, vectors=VECTORS)),
    }


def away(tree: dict) -> dict:
    """Shapes -> drawn numbers, none of which is where training begins."""
    import jax

    leaves, treedef = jax.tree.flatten(tree)
    made = [
        drawn.normal(f"adapter {i}", x.shape) / np.sqrt(max(1, np.prod(x.shape[:-1])), dtype="f")
        for i, x in enumerate(leaves)
    ]
    return jax.tree.unflatten(treedef, made)


def base(folder: Path) -> Path:
    """The run of the base, and the same as a folder of diffusers."""
    from ldm_jax import config as c
    from ldm_jax import convert, runs
    from ldm_jax.encoders.tokenizers import clip
    from tests.parity import lora

    experiment = replace(
        lora.EXPERIMENT, data=c.Data(path="shapes", image_size=2 * SIDE), latent_scale=1.0
    )
    tokenizers = {"tokens": clip.load(None, 77, "openai")}
    params = away(runs.model_shapes(experiment.build(tokenizers)))
    runs.write_imported(folder / "base", experiment, params, None, tokenizers)
    convert.convert(folder / "base", folder / "sd")
    return folder / "base"


def given(name: str, config) -> dict[str, np.ndarray]:
    """What an adapter reads, as batches have it."""
    if name.startswith("ip"):
        places = (config.encoder.places,) if config.hidden else ()
        return {config.entry: drawn.normal(f"prompt {name}", (1, 1, *places, config.into))}
    channels = HINTS.get(name)
    if channels is None:
        return {}
    hint = np.float32(drawn.normal(f"hint {channels}", (1, 2 * SIDE, 2 * SIDE, channels)) > 0)
    return {config.entry: hint}


def attached(run: Path, name: str, config):
    """The base, described, with an adapter, whose run is made and converted."""
    import jax

    from ldm_jax import config as c
    from ldm_jax import convert, runs
    from ldm_jax.adapters.adapter import init_adapters
    from ldm_jax.adapters.settings import Base
    from ldm_jax.runs.adapters import NAME

    described, folder = runs.describe(run), run.parent
    there = Base(described.experiment, described.model, described.tokenizers)
    own = {NAME: config.build(config.read(there))}
    shapes = runs.model_shapes(described.model)
    shapes = jax.eval_shape(lambda x: init_adapters(own, jax.random.key(0), x), shapes)
    place, written = folder / "runs" / name, folder / FILES[name]
    for path in (place, written):  # of a command that was stopped
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    experiment = c.AdapterExperiment(base=str(run), adapter=config)
    runs.write_imported(place, experiment, {"adapters": away(shapes)})
    convert.convert(place, written)
    return runs.attach(described, [str(place)])


def write(folder: Path) -> None:
    from ldm_jax import runs
    from ldm_jax.encoders.tokenizers import tokenizer as tokens

    folder.mkdir(exist_ok=True)
    run = folder / "base" if (folder / "sd").exists() else base(folder)
    z, t = drawn.normal("latents", (1, SIDE, SIDE, 4)), np.array([TIMESTEP])
    every = {"none": None, **settings()}
    for name in [name for name in every if not (folder / f"{name}.npz").exists()]:
        config = every[name]
        described = attached(run, name, config) if config else runs.describe(run)
        trained = runs.with_weights(described)
        model, params = trained.model, trained.params
        prompt = PROMPT.format(WORD if name.startswith("word") else "cat")
        ids = tokens.encode(trained.tokenizers["tokens"], prompt)[None]
        inputs = given(name, config)
        entries = [key for key in model.conditioner.keys if key != "tokens"]
        read = dict(zip(entries, inputs.values(), strict=False))
        read |= {key: np.ones(1, np.float32) for key in entries if key.startswith("on.")}
        y = model.denoise(params, z, t, model.condition(params, {"tokens": ids, **read}))
        kept = {"y": np.asarray(y).transpose(0, 3, 1, 2), "ids": ids}
        kept |= {"z": z.transpose(0, 3, 1, 2), "t": t}
        kept |= {"given": next(iter(inputs.values()))} if inputs else {}
        np.savez(folder / f"{name}.npz", **kept)


def loaded(folder: Path, name: str):
    """The pipeline with an adapter, and what calls its UNet: (z, t, tokens, given) -> output."""
    import diffusers
    import peft

    from tests.parity.make.lora import renamed

    sd = folder / "sd"
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(sd, safety_checker=None)
    path = folder / FILES.get(name, "")
    if name == "controlnet":
        net = diffusers.ControlNetModel.from_pretrained(path)

        def call(z, t, tokens, hint):
            down, mid = net(z, t, tokens, hint, return_dict=False)
            more = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
            return pipe.unet(z, t, tokens, **more).sample

        return pipe, call
    if name.startswith("t2i"):
        adapter = diffusers.T2IAdapter.from_pretrained(path)
        of = "down_intrablock_additional_residuals"
        return pipe, lambda z, t, c, hint: pipe.unet(z, t, c, **{of: adapter(hint)}).sample
    if name.startswith("ip"):
        pipe.load_ip_adapter(
            str(folder), subfolder="", weight_name=path.name, image_encoder_folder=None
        )
        pipe.set_ip_adapter_scale(1.0)
        of = "added_cond_kwargs"
        return pipe, lambda z, t, c, x: pipe.unet(z, t, c, **{of: {"image_embeds": [x]}}).sample
    if name == "lora-peft":
        pipe.unet = peft.PeftModel.from_pretrained(pipe.unet, path / "unet").eval()
        text = renamed(path / "text_encoder", pipe.text_encoder)
        pipe.text_encoder = peft.PeftModel.from_pretrained(pipe.text_encoder, text).eval()
    elif name.startswith("lora"):
        pipe.load_lora_weights(path)
    elif name.startswith("word"):
        pipe.load_textual_inversion(path)
    return pipe, lambda z, t, c, _: pipe.unet(z, t, c).sample


def check(folder: Path) -> None:
    import torch

    plain, worst = np.load(folder / "none.npz")["y"], 0.0
    for name in ("none", *FILES):
        with np.load(folder / f"{name}.npz") as file:
            kept = dict(file)
        pipe, call = loaded(folder, name)
        prompt = PROMPT.format(WORD if name.startswith("word") else "cat")
        prompt = pipe.maybe_convert_prompt(prompt, pipe.tokenizer)
        ids = pipe.tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt")
        assert np.array_equal(ids.input_ids.numpy(), kept["ids"]), name
        x = kept.get("given")
        if name in HINTS:
            x = x.transpose(0, 3, 1, 2)
        z, t = (torch.tensor(kept[key]) for key in ("z", "t"))
        with torch.no_grad():
            tokens = pipe.text_encoder(ids.input_ids)[0]
            y = call(z, t, tokens, None if x is None else torch.tensor(x))
        pairs = {"output": (kept["y"], y.numpy())}
        change = np.abs(kept["y"] - plain).max() / np.abs(plain).max()
        print(compare.table(name, pairs), f"changes it by {change:.1g}", flush=True)
        worst = max(worst, compare.measured(pairs)["output"][1])
    print(f"largest relative error: {worst:.1e}")
    if worst > TOLERANCE:
        sys.exit(f"expected at most {TOLERANCE}")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
