"""Makes diffusers_keys.json: config.json, and keys with shapes, of diffusers' own autoencoders.

pip install torch==2.13.0 diffusers==0.42.1
python tests/convert/make_diffusers_keys.py
"""

import json
from pathlib import Path

from diffusers import AutoencoderKL, VQModel

small = {
    "block_out_channels": (8, 16, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "sample_size": 32,
    "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D", "DownEncoderBlock2D"),
    "up_block_types": ("UpDecoderBlock2D", "AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
}
plain = {
    "block_out_channels": (8, 8),
    "layers_per_block": 2,
    "norm_num_groups": 2,
    "sample_size": 64,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "mid_block_add_attention": False,
}
NETWORKS = {
    "kl": AutoencoderKL(**small, latent_channels=3),
    "kl without attention": AutoencoderKL(**plain, shift_factor=0.25, scaling_factor=1.5),
    "kl without quant_conv": AutoencoderKL(
        **small, use_quant_conv=False, use_post_quant_conv=False
    ),
    "vq": VQModel(**small, num_vq_embeddings=11),
    "vq without attention": VQModel(**plain, latent_channels=4, num_vq_embeddings=7),
}

if __name__ == "__main__":
    made = {
        name: {
            "config": json.loads(network.to_json_string()),
            "shapes": {key: tuple(w.shape) for key, w in network.state_dict().items()},
        }
        for name, network in NETWORKS.items()
    }
    lines = (
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f"{json.dumps(part)}: {json.dumps(value)}" for part, value in parts.items())
        + "\n}"
        for name, parts in made.items()
    )
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (Path(__file__).parent / "diffusers_keys.json").write_text(text)
