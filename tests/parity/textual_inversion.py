"""Files of textual inversion against outputs that the tools' own code gave with them.

    python -m tests.parity.textual_inversion --golden GOLDEN   (needs instant-clip-tokenizer)

Of each file in GOLDEN/adapters/textual-inversion: the token numbers of a prompt with its word, its
vectors, and the tokens of a small CLIP text encoder, whose weights are drawn from their names.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import config as c
from ldm_jax.adapters.adapter import merged
from ldm_jax.adapters.settings import Base
from ldm_jax.adapters.textual_inversion import TextualInversion
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.weights import table as tables
from ldm_jax.weights.formats.files import read_weights
from ldm_jax.weights.names import clip as names
from tests.parity import compare
from tests.parity.cases import drawn

TEXT = c.CLIPText(dim=32, layers=2, num_heads=4, head_dim=8)
TOY, STYLE = "a photo of a <cat-toy> on a beach", "a house in the style of <my-style>"
CASES = {  # name in outputs.npz -> file, prompt
    "a1111-1": ("a1111-1.pt", "a photo of a cat-toy on a beach"),
    "a1111-3": ("a1111-3.pt", "a house in the style of my-style, my-style"),
    "original-2": ("original-2.pt", "a photo of * and *"),
    "diffusers-old": ("diffusers-old/learned_embeds.bin", TOY),
    "diffusers-bin": ("diffusers/learned_embeds.bin", TOY),
    "diffusers-safetensors": ("diffusers/learned_embeds.safetensors", STYLE),
    "kohya-2": ("kohya-2.safetensors", "a photo of kohya-2 , closeup"),
}
STAR = "original-2"  # whose numbers there are those before the vectors took their places


def computed(base: Base, params: dict, path: Path, prompt: str, count: int) -> dict:
    """Token numbers, vectors and the first `count` tokens of a prompt."""
    file = read_weights(path)
    config, own = TextualInversion.of_file(file, file.metadata, base)
    config = config.named(path.stem)
    config.check(base)
    base = config.read(base)
    ids = tokens.encode(base.tokenizers["tokens"], prompt)[None]
    adapters = {"word": config.build(base)}

    @jax.jit
    def encode(params, own, ids):
        params = merged(adapters, {**params, "adapters": {"word": own}})
        return base.model.condition(params, {"tokens": ids}).tokens

    found = encode(params, own, jnp.asarray(ids))[:, :count]
    return {"ids": ids, "vectors": own["tokens"]["vectors"], "tokens": np.asarray(found)}


def main(golden: Path) -> None:
    base = Base(c.Experiment(conditions=(TEXT,)), None, {"tokens": clip.load(None, 77, "openai")})
    table = names.transformers_names(TEXT)
    params = {"conditioner": tables.rearranged(table, drawn.state(tables.shapes(table)))}
    folder = golden / "adapters" / "textual-inversion"
    with np.load(folder / "outputs.npz") as file:
        stored = dict(file)
    compared = {}
    for name, (path, prompt) in CASES.items():
        there = {kind: stored[f"{name}.{kind}"] for kind in ("ids", "vectors", "tokens")}
        found = computed(base, params, folder / path, prompt, there["tokens"].shape[1])
        for kind, expected in there.items():
            if (name, kind) != (STAR, "ids"):
                compared[f"{name}.{kind}"] = found[kind], expected
    print(compare.table("textual inversion", compared))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, required=True)
    main(parser.parse_args().golden)
