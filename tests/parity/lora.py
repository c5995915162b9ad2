"""Files of low-rank adapters as their tools write them, against what the tools compute with them.

    python -m tests.parity.lora --golden GOLDEN [--name kohya-lora ...]

GOLDEN/adapters has files of each layout for one small Stable Diffusion 1, whose weights are drawn
from their names, its outputs with each of them at scale 1 and 0.7, and digests of each weight's
change, by which a wrong layer is found. Prints the relative error of each output.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.adapters.loha import LoHa
from ldm_jax.adapters.lokr import LoKr
from ldm_jax.adapters.lora import LoRA
from ldm_jax.types import Cond
from ldm_jax.weights.formats import peft_folder
from ldm_jax.weights.formats.files import read_weights
from tests.parity import compare
from tests.parity.cases import drawn
from tests.parity.cases.networks import channels_first, channels_last
from tests.support import low_rank

EXPERIMENT = low_rank.experiment(32, 8, 32, layers=2, num_heads=4)
BASE = low_rank.base(EXPERIMENT)
KINDS = (LoRA, LoHa, LoKr)
# DoRA's files of LyCORIS, whose own modules understand a scale as no other does
OWN_SCALE = ("lycoris-dora", "lycoris-dora-on-input")


def read(path: Path) -> tuple[dict, Mapping[str, str]]:
    """Arrays and metadata of a file, or of a folder with one."""
    if path.is_dir() and peft_folder.found(path):
        return peft_folder.read(path)
    if path.is_dir():
        path = next(path.iterdir())
    weights = read_weights(path)
    return {key: weights[key] for key in weights}, weights.metadata


def adapter(arrays: dict, metadata: Mapping[str, str]):
    """The settings and the params in a file, of whatever kind it is."""
    found = [x for kind in KINDS if (x := kind.of_file(arrays, metadata, BASE))]
    assert len(found) == 1
    return found[0]


@jax.jit
def outputs(params: dict, x, t, ids) -> dict:
    """The text encoder's first 16 tokens and the UNet's output."""
    encoder = EXPERIMENT.conditions[0].encoder(_Stub())
    tokens = encoder.apply(params["conditioner"], ids).tokens
    y = EXPERIMENT.model.build(4, 4).apply(
        params["denoiser"], channels_last(x), t, Cond(tokens=tokens)
    )
    return {"tokens": tokens[:, :16], "y": channels_first(y)}


class _Stub:
    """In place of a tokenizer, since there are tokens already."""

    def encode(self, text):
        return type("Encoded", (), {"ids": [0] * 77})()


def digests(moved: dict) -> dict[str, list[float]]:
    """Published name -> norm of a weight's change, and its product with numbers drawn from it."""
    before = low_rank.published(EXPERIMENT, low_rank.params(EXPERIMENT))
    found = {}
    for name, after in low_rank.published(EXPERIMENT, moved).items():
        change = after - before[name]
        if np.any(change):
            with_drawn = np.sum(change * drawn.weight(name, change.shape))
            found[name] = [float(np.linalg.norm(change)), float(with_drawn)]
    return found


def wrong(ours: dict, theirs: dict, tolerance: float = 1e-3) -> list[str]:
    """The weights whose change is another one."""
    names = [name for name in {**ours, **theirs} if name not in ours or name not in theirs]
    for name in ours.keys() & theirs.keys():
        (norm, _), (reference, _) = ours[name], theirs[name]
        if np.max(np.abs(np.subtract(ours[name], theirs[name]))) > tolerance * max(reference, norm):
            names.append(name)
    return sorted(names)


def main(folder: Path, chosen: list[str]) -> None:
    with np.load(folder / "outputs.npz") as file:
        arrays = dict(file)
    known = json.loads((folder / "digests.json").read_text("utf-8"))
    params = low_rank.params(EXPERIMENT)
    inputs = jnp.asarray(arrays["x"]), jnp.asarray(arrays["t"]), jnp.asarray(arrays["ids"])
    plain = {name: (y, arrays[name]) for name, y in outputs(params, *inputs).items()}
    print(compare.table("no adapter", plain))
    worst = 0.0
    names = {path.name.removesuffix(".safetensors"): path for path in sorted(folder.iterdir())}
    known_as = {name: name.removesuffix("-old") for name in names}  # whose outputs it has
    files = {name: of for name, of in known_as.items() if f"{of}@1.y" in arrays}
    for name, reference in files.items():
        if chosen and name not in chosen:
            continue
        config, own = adapter(*read(names[name]))
        tried = [(reference, config, 1.0), (reference, config, 0.7)]
        if name in OWN_SCALE:
            tried.append((f"{name}-lycoris", replace(config, dora_scaled="magnitude"), 0.7))
        for of, settings, scale in tried:
            moved, pairs = low_rank.changed(EXPERIMENT, settings, own, scale), {}
            for what, y in outputs(moved, *inputs).items():
                key = f"{of}@{scale:g}.{what}"
                pairs |= {key: (y, arrays[key])} if key in arrays else {}
            if scale == 1:
                differ = wrong(digests(moved), known[reference + "@1"])
                for one in differ:
                    print(f"{name}: the change of {one} is another")
            print(compare.table(name, pairs))
            worst = max(worst, *(error for _, error in compare.measured(pairs).values()), 0.0)
    print(f"largest relative error: {worst:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--name", nargs="*", default=[])
    options = parser.parse_args()
    main(options.golden / "adapters", options.name)
