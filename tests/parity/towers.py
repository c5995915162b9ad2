"""Prints how far towers of published sizes are from what make_towers.py wrote to a file.

PYTHONPATH=. python tests/parity/towers.py FILE.npz
"""

import sys

import compare
import drawn
import jax
import numpy as np
import tower_cases as cases

from ldm_jax.clip.vision import Architecture, VisionTower
from ldm_jax.convert import dinov2 as dinov2_names
from ldm_jax.convert.clip import vision_tower
from ldm_jax.convert.table import to_here
from ldm_jax.extractors import dinov2


def outputs(names) -> dict[str, np.ndarray]:
    """Ours, of the towers that have these names."""
    found = {}
    with jax.default_matmul_precision("highest"):
        for name, sizes in {**cases.CLIP, **cases.FULL_CLIP}.items():
            if name in names:
                of = Architecture(*sizes)
                found[name] = applied(VisionTower(of), vision_tower(of), of.size)
        for name, sizes in {**cases.DINOV2, **cases.FULL_DINOV2}.items():
            if name in names:
                of = dinov2.Architecture(*sizes)
                network = dinov2.DINOv2(of, offset=0.0)
                found[name] = applied(network, dinov2_names.dinov2(of), of.size, theirs(of))
    return found


def applied(network, table, size, state=None) -> np.ndarray:
    """The network's output, by way of the names in its file."""
    state = state or drawn.state({key: row.shape for row in table for key in row.keys})
    apply = jax.jit(network.apply)
    return np.asarray(apply({"params": to_here(table, state)}, cases.images(size)))


def theirs(of: dinov2.Architecture) -> dict[str, np.ndarray]:
    """Weights that are drawn from transformers' names, under the authors'."""
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "proj": "o_proj"}
    state = {}
    for row in dinov2_names.dinov2(of):
        for key in row.keys:
            there = key.replace("blocks.", "encoder.layer.").replace(".ls", ".layer_scale")
            there = there.replace(".gamma", ".lambda1")
            for ours, its in names.items():
                there = there.replace(f".attn.{ours}.", f".attention.{its}.")
            there = {
                "cls_token": "embeddings.cls_token",
                "pos_embed": "embeddings.position_embeddings",
            }.get(there, there)
            there = there.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
            there = there.replace("norm.", "layernorm.") if there.startswith("norm.") else there
            assert dinov2_names.authors_name(there) == key
            state[key] = drawn.weight(there, row.shape)
    return state


if __name__ == "__main__":
    with np.load(sys.argv[1]) as file:
        stored = dict(file)
    ours = outputs(stored)
    print(compare.table("tower", {name: (ours[name], stored[name]) for name in ours}))
