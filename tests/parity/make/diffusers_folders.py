"""Folders that diffusers writes, read here, written back, and read by diffusers again.

    pip install torch==2.13.0 diffusers==0.42.1
    python -m tests.parity.make.diffusers_folders make DIR               with torch and diffusers
    python -m tests.parity.make.diffusers_folders convert DIR       with this project
    python -m tests.parity.make.diffusers_folders check DIR              with torch and diffusers

`make` fills DIR/made with small autoencoders of diffusers at random weights, in every form in which
it saves or once saved them, and their outputs. `convert` imports each as a run and exports it
again, to DIR/back, and compares outputs and weights. `check` loads what was exported strictly.
"""

import sys
from pathlib import Path

import numpy as np

from tests.parity import compare

SMALL = {
    "block_out_channels": (32, 64, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "sample_size": 32,
    "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D", "DownEncoderBlock2D"),
    "up_block_types": ("UpDecoderBlock2D", "AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
}
NETWORKS = {  # name -> class, its arguments, and those of save_pretrained
    "kl": ("AutoencoderKL", {"shift_factor": 0.1}, {}),
    "kl bin": ("AutoencoderKL", {}, {"safe_serialization": False}),
    "kl in shards": ("AutoencoderKL", {}, {"max_shard_size": "500KB"}),
    "kl fp16": ("AutoencoderKL", {}, {"variant": "fp16"}),
    "kl without quant_conv": (
        "AutoencoderKL",
        {"use_quant_conv": False, "use_post_quant_conv": False},
        {},
    ),
    "kl without post_quant_conv": ("AutoencoderKL", {"use_post_quant_conv": False}, {}),
    "kl with old names": ("AutoencoderKL", {}, {}),
    "vq": ("VQModel", {"num_vq_embeddings": 50}, {}),
    "vq without attention": ("VQModel", {"mid_block_add_attention": False}, {}),
    "tiny": ("AutoencoderTiny", {"latent_channels": 16, "shift_factor": 0.1}, {}),
}
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def outputs(model, image):
    """What diffusers gives: latents before they are drawn or rounded, and their decoding."""
    import torch

    with torch.no_grad():
        if type(model).__name__ == "AutoencoderKL":
            latents = model.encode(image).latent_dist.parameters
            decoded = latents.chunk(2, dim=1)[0]
        else:
            latents = model.encode(image).latents
            decoded = latents
        return {"latents": latents.numpy(), "recon": model.decode(decoded).sample.numpy()}


def make(folder: Path) -> None:
    """The folders, and their outputs."""
    import diffusers
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    for name, (kind, arguments, saving) in NETWORKS.items():
        sizes = arguments if kind == "AutoencoderTiny" else SMALL | arguments
        model = getattr(diffusers, kind)(**sizes).eval()
        for w in model.parameters():
            w.data += 0.05 * torch.randn_like(w)
        if "fp16" in name:
            model = model.half().float()  # weights that are the same in both
            half = getattr(diffusers, kind)(**sizes)
            half.load_state_dict(model.state_dict())
            half.half().save_pretrained(folder / "made" / name, **saving)
        else:
            model.save_pretrained(folder / "made" / name, **saving)
        if "old" in name:
            file = folder / "made" / name / "diffusion_pytorch_model.safetensors"
            old = {}
            for key, w in load_file(file).items():
                for new, before in OLD.items():
                    key = key.replace(f".{new}.", f".{before}.")
                old[key] = w
            save_file(old, file)
        arrays = {"image": image.numpy(), **outputs(model, image)}
        np.savez(folder / "made" / f"{name}.npz", **arrays)


def convert(folder: Path) -> None:
    """There and back, and the outputs here."""
    import jax

    from ldm_jax import convert as conversion
    from ldm_jax import runs
    from ldm_jax.weights.formats import diffusers_folder
    from tests.parity.cases import networks

    for name, (kind, _, _) in NETWORKS.items():
        run, back = folder / "runs" / name, folder / "back" / name
        conversion.convert(folder / "made" / name, run)
        conversion.convert(run, back)
        model = runs.load_first_stage_config(run).model
        params = runs.load_first_stage(run, model.build())
        network, latents, recon = {
            "AutoencoderKL": (networks.autoencoder, "moments", "recon"),
            "VQModel": (networks.quantised, "h", "recon"),
            "AutoencoderTiny": (networks.tiny, "latents", "decoded"),
        }[kind]
        with np.load(folder / "made" / f"{name}.npz") as reference:
            inputs = {"image": reference["image"], "z": reference["latents"]}
            with jax.default_matmul_precision("highest"):
                found = jax.jit(network(model).call)(params, inputs)
            pairs = {
                "latents": (np.asarray(found[latents]), reference["latents"]),
                "recon": (np.asarray(found[recon]), reference["recon"]),
            }
        print(compare.table(name, pairs))
        made, returned = (diffusers_folder.read(f).state for f in (folder / "made" / name, back))
        assert set(made) == set(returned)
        for key in made:
            np.testing.assert_array_equal(made[key], returned[key])


def check(folder: Path) -> None:
    """The outputs of diffusers from what was written back."""
    import diffusers
    import torch

    for name, (kind, _, _) in NETWORKS.items():
        model, loading = getattr(diffusers, kind).from_pretrained(
            folder / "back" / name, output_loading_info=True
        )
        assert not any(loading.values()), loading
        with np.load(folder / "made" / f"{name}.npz") as reference:
            found = outputs(model.eval(), torch.tensor(reference["image"]))
            print(compare.table(name, {key: (found[key], reference[key]) for key in found}))


if __name__ == "__main__":
    stage, place = sys.argv[1:]
    {"make": make, "convert": convert, "check": check}[stage](Path(place))
