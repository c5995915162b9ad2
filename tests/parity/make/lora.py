"""Files of low-rank adapters that are written here, loaded by diffusers and by PEFT.

    pip install torch==2.13.0 diffusers==0.42.1 transformers peft==0.21.2
    python -m tests.parity.make.lora write DIR      with this project
    python -m tests.parity.make.lora check DIR      with torch, diffusers and PEFT

`write` fills DIR with the weights of a small Stable Diffusion, drawn from their names, adapters in
each layout that the two read, and our outputs with each; `check` loads them and prints how far the
outputs are apart.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

from tests.parity import compare

NAMES = ("diffusers", "kohya", "kohya-locon", "peft", "peft-dora", "peft-loha", "peft-lokr")
LEVELS, LAYERS, WIDTH, HEADS = (32, 64), 2, 32, 4


def settings() -> dict:
    """Name -> settings of an adapter."""
    from ldm_jax.config import LoHa, LoKr, LoRA

    attention = ("to_q", "to_v", "to_out.0", "q_proj", "k_proj", "out_proj", "fc1")
    patterns = {"rank_pattern": (("attn1.to_q", 3),), "alpha_pattern": (("attn2.to_v", 5.0),)}
    # diffusers 0.42.1 ignores an alpha of attention, or of a text encoder, that differs from the
    # most frequent one of a file of kohya: it looks for it under the names of before
    others = (("net.2", 5.0),)
    convolutions = ("conv1", "conv2", "proj_in", "ff.net.2", "to_k")
    few = ("to_q", "conv1", "ff.net.2")
    return {
        "diffusers": LoRA(2, 1.0, attention, **patterns, layout="diffusers"),
        "kohya": LoRA(2, 1.0, (*attention, "net.2"), alpha_pattern=others, dtype="float16"),
        "kohya-locon": LoRA(2, 3.0, convolutions),
        "peft": LoRA(2, 1.0, (*attention, "conv1"), **patterns, rslora=True, layout="peft"),
        "peft-dora": LoRA(2, 3.0, (*attention, "conv2"), dora="rows", layout="peft"),
        "peft-loha": LoHa(2, 1.0, few, tucker=True, layout="peft"),
        "peft-lokr": LoKr(2, 1.0, few, decompose_factor=4, layout="peft"),
    }


def write(folder: Path) -> None:
    import jax

    from ldm_jax.weights.formats import peft_folder
    from ldm_jax.weights.formats.files import write_weights
    from tests.parity import lora
    from tests.parity.cases import drawn
    from tests.support import low_rank

    of, base = lora.EXPERIMENT, lora.BASE
    params = low_rank.params(of)
    folder.mkdir()
    np.savez(folder / "base.npz", **low_rank.published(of, params))
    inputs = {
        "x": drawn.normal("x", (1, 4, 8, 16)),
        "t": np.array([500]),
        "ids": np.random.default_rng(0).integers(0, 49_000, (1, 77)),
    }
    found = dict(inputs)
    for name, config in settings().items():
        fresh = config.build(base).init(jax.random.key(0), params)
        leaves, tree = jax.tree.flatten(fresh)
        moved = [
            np.asarray(np.float16(np.abs(x + 0.3 * drawn.normal(f"{i}", x.shape))), np.float32)
            for i, x in enumerate(leaves)
        ]
        own = jax.tree.unflatten(tree, moved)
        arrays, metadata = config.to_file(own, base)
        if config.layout == "peft":
            (folder / name).mkdir()
            peft_folder.write(folder / name, arrays, metadata)
        else:
            write_weights(folder / f"{name}.safetensors", arrays, metadata=metadata)
        ours = lora.outputs(low_rank.changed(of, config, own), *inputs.values())
        found |= {f"{name}.{what}": np.asarray(y) for what, y in ours.items()}
    np.savez(folder / "outputs.npz", **found)


def networks(folder: Path) -> tuple:
    """The UNet and the text encoder in diffusers and transformers."""
    import diffusers
    import torch
    import transformers

    unet = diffusers.UNet2DConditionModel(
        block_out_channels=LEVELS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=8,
        cross_attention_dim=WIDTH,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            vocab_size=49_408,
        )
    )
    with np.load(folder / "base.npz") as file:
        weights = {key: torch.from_numpy(file[key]) for key in file}
    for start, network in (("unet.", unet), ("text_encoder.", text)):
        own = {k.removeprefix(start): x for k, x in weights.items() if k.startswith(start)}
        if not any(key.startswith("text_model.") for key in network.state_dict()):
            own = {key.removeprefix("text_model."): x for key, x in own.items()}
        missing = network.load_state_dict(own, strict=False)
        assert all("position_ids" in key for key in missing.missing_keys), missing
        assert not missing.unexpected_keys, missing
    return unet.eval(), text.eval()


def renamed(place: Path, text) -> Path:
    """PEFT's folder for a text encoder of transformers 5, whose names lack text_model., which PEFT
    does not know of."""
    from safetensors.torch import load_file, save_file

    if any(key.startswith("text_model.") for key in text.state_dict()):
        return place
    other = place.with_name("text_encoder_5")
    shutil.copytree(place, other, dirs_exist_ok=True)
    weights = load_file(place / "adapter_model.safetensors")
    weights = {key.replace(".text_model.", "."): x for key, x in weights.items()}
    save_file(weights, other / "adapter_model.safetensors")
    return other


def loaded(folder: Path, name: str) -> tuple:
    """The networks with an adapter."""
    import diffusers
    import peft

    unet, text = networks(folder)
    if (folder / name).is_dir():
        unet = peft.PeftModel.from_pretrained(unet, folder / name / "unet")
        if (folder / name / "text_encoder").is_dir():
            place = renamed(folder / name / "text_encoder", text)
            text = peft.PeftModel.from_pretrained(text, place)
        return unet.eval(), text.eval()
    pipeline = diffusers.StableDiffusionPipeline(
        None, text, None, unet, diffusers.DDIMScheduler(), None, None, None, False
    )
    pipeline.load_lora_weights(folder / f"{name}.safetensors")
    return pipeline.unet.eval(), pipeline.text_encoder.eval()


def check(folder: Path) -> None:
    import torch

    with np.load(folder / "outputs.npz") as file:
        arrays = dict(file)
    x, t, ids = (torch.from_numpy(arrays[name]) for name in ("x", "t", "ids"))
    for name in NAMES:
        unet, text = loaded(folder, name)
        with torch.no_grad():
            tokens = text(ids).last_hidden_state
            y = unet(x, t, tokens).sample
        theirs = {"tokens": tokens[:, :16], "y": y}
        pairs = {what: (arrays[f"{name}.{what}"], z.numpy()) for what, z in theirs.items()}
        print(compare.table(name, pairs), flush=True)


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
