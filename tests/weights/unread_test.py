"""Files that are no model, or none that is read here, are called by their names."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from ldm_jax import convert
from ldm_jax.errors import InputError
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.unread import refuse_unread

KEYS = Path(__file__).parents[1] / "parity" / "keys"
PLACE = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (f"lora_unet_{PLACE.replace('.', '_')}.lora_down.weight", "this is a LoRA"),
        (f"unet.{PLACE}.lora.up.weight", "this is a LoRA"),
        (f"unet.{PLACE}.lora_A.weight", "this is a LoRA"),
        (f"unet.{PLACE}.processor.to_q_lora.down.weight", "this is a LoRA"),
        (f"{PLACE}.hada_w1_a", "this is a LyCORIS"),
        ("conditioner.embedders.1.model.token_embedding.weight", "this is Stable Diffusion XL"),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "a diffusion transformer"),
        ("control_model.time_embed.0.weight", "this is a ControlNet"),
        ("adapter.body.0.resnets.0.block1.weight", "this is a T2I-Adapter"),
        ("image_proj.norm.weight", "this is an IP-Adapter"),
        ("emb_params", "an embedding of textual inversion"),
    ],
)
@pytest.mark.parametrize("config", [None, "configs/sd/v1.py"])
def test_what_is_not_read_is_named(key, said, config, tmp_path, request):
    source = tmp_path / "given.safetensors"
    write_weights(source, {key: np.zeros((4, 4), "f"), "other": np.zeros(1, "f")})
    config = config and request.config.rootpath / config
    remedy = "(not supported yet|as --adapter)"
    with pytest.raises(InputError, match=rf"given\.safetensors: .*{said}.*{remedy}"):
        convert.convert(source, tmp_path / "run", config)
    assert [path.name for path in tmp_path.iterdir()] == ["given.safetensors"]


@pytest.mark.parametrize("file", sorted(KEYS.glob("*.txt.gz")), ids=lambda file: file.name)
def test_models_that_are_read_are_not_refused(file):
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    assert lines
    refuse_unread([line.split(" ")[0] for line in lines])


def test_an_autoencoder_given_as_a_whole_model_is_named(tmp_path, request):
    source = tmp_path / "vae.safetensors"
    write_weights(source, {"encoder.conv_in.weight": np.zeros((128, 3, 3, 3), "f")})
    config = request.config.rootpath / "configs/sd/v1.py"
    with pytest.raises(InputError, match=r"vae\.safetensors holds no denoiser"):
        convert.convert(source, tmp_path / "run", config)
