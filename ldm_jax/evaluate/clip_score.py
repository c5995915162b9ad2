"""CLIP score: agreement of images with their captions (Hessel et al. 2021)."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ldm_jax import runs
from ldm_jax.data.folder import list_encoded, open_folder
from ldm_jax.data.readable import spread
from ldm_jax.encoders.clip.model import CLIPName
from ldm_jax.errors import InputError, reading
from ldm_jax.evaluate import clip, results
from ldm_jax.evaluate.generate import Generation, draw_shards
from ldm_jax.evaluate.held_out import condition_of
from ldm_jax.evaluate.sets import Images, open_set
from ldm_jax.experiments.train import check_batch
from ldm_jax.extractors.resize import pillow_bicubic
from ldm_jax.metrics import clip_score as metric
from ldm_jax.sampling.view import view
from ldm_jax.settings import AtLeast1, AtLeast2, is_of

CONVENTION = (
    "100 max(cos, 0) of each pair, averaged: Hessel et al. 2021 with 100 instead of 2.5; "
    "torchmetrics clips the mean, which differs where single cosines are negative"
)


@dataclass(frozen=True)
class Measured:
    """What is measured, and with which model."""

    weights: str | None = None
    """CLIP's weights: a file or folder of transformers, OpenCLIP or OpenAI; needed"""
    clip: CLIPName = "vit_l14"
    """which model they are of"""
    tokenizer: str | None = None
    """a tokenizer.json or merges.txt; the published one of a package where not given"""
    num: AtLeast2 | None = None
    """images, evenly spaced; default: all, and of a run 1000"""
    batch_size: AtLeast1 = 32
    """images per batch of CLIP"""
    out: str | None = None
    """folder to write to; clip-score in the folder or the run where not given"""


@dataclass(frozen=True)
class Options:
    """The settings of `clip-score`."""

    measured: Measured = field(default_factory=Measured)
    generation: Generation = field(default_factory=Generation)


def clip_score(place: str, options: Options) -> None:
    """Scores images of a folder, or of a run, against their captions; writes OUT/clip-score.json.

    Raises:
        InputError: no weights, no captions, or images that cannot be read; nothing is drawn then.
    """
    asked, is_run = options.measured, runs.is_run(place)
    check_batch(asked.batch_size, "--batch-size")
    if asked.weights is None:
        raise InputError(
            "--weights is not given: expected those of CLIP, such as model.safetensors of "
            "openai/clip-vit-large-patch14 on huggingface.co (another model: --clip)"
        )
    out = results.folder_of(asked.out, place, "clip-score")
    results.check_own(out, "clip-score.json", "CLIP score")
    if is_run:
        condition_of(view(runs.describe(Path(place))), "tokens")
    else:
        found, captions, num = _pairs(place, asked.num)
    encoders = clip.published(asked.clip, asked.weights, asked.tokenizer)
    if is_run:
        draw_shards(place, out / "generated", asked.num or 1000, options.generation)
        found, captions, num = _pairs(str(out / "generated"), asked.num or 1000)
    chosen, side = [captions[i] for i in spread(found.count, num)], encoders.model.vision.size
    batches = found.batches(num, asked.batch_size)
    prepared = (np.float32(pillow_bicubic(_square(images), side)) for images in batches)
    embeddings = encoders.images(prepared, asked.batch_size)
    scores = metric.clip_score(embeddings, encoders.captions(chosen, asked.batch_size))
    mean, error = float(scores.mean()), float(scores.std(ddof=1) / np.sqrt(num))
    report = {
        "CLIP score": mean,
        "standard error": error,
        "num": num,
        "convention": CONVENTION,
        "images": {"name": found.name, "size": list(found.size), **found.facts},
        "clip": {"name": asked.clip, **encoders.facts},
        "preparation": f"square from the middle, Pillow's bicubic filter to {side}",
        **results.software(),
    }
    results.write_json(out / "clip-score.json", report)
    for i in np.argsort(scores)[:3]:
        print(f"lowest: {scores[i]:.2f} '{chosen[i]}'")
    print(f"CLIP score ({asked.clip}): {mean:.3f} +- {error:.3f} ({num} images)")


def _pairs(place: str, num: int | None) -> tuple[Images, list[str], int]:
    """Images, their captions, and how many of them are measured."""
    found = open_set(place)
    if not isinstance(found, Images):
        raise InputError(f"'{place}' holds statistics: expected images with captions")
    captions = captions_of(Path(place), found.count)
    return found, captions, results.count_of(num, found.count, f"'{place}'", least=2)


def _square(images: np.ndarray) -> np.ndarray:
    """[B, H, W, 3] -> [B, s, s, 3] from the middle."""
    H, W = images.shape[1:3]
    s = min(H, W)
    top, left = (H - s) // 2, (W - s) // 2
    return images[:, top : top + s, left : left + s]


def captions_of(path: Path, count: int) -> list[str]:
    """The caption of each image of a folder, in the order of the set; of several the first.

    Raises:
        InputError: there are none, or an image has none.
    """
    for name in ("request.json", "report.json"):  # of `generate`, and of sample.py: cycled
        prompts = None
        if (path / name).exists():
            with reading(f"'{path / name}'", "what sample.py or generate wrote; or remove it"):
                about = json.loads((path / name).read_text("utf-8"))
                prompts = about.get("request", about).get("prompts")
                if isinstance(prompts, dict):  # before requests had sections, the prompts
                    prompts = prompts["prompt"]
                if prompts and not is_of(prompts, list[str]):
                    raise TypeError(f"its prompts are {prompts!r}")
        if prompts:
            return [prompts[i % len(prompts)] for i in range(count)]
    files = list_encoded(path)[0] if path.is_dir() else []
    if not files:
        raise InputError(
            f"'{path}' has no captions: expected what sample.py or generate wrote for captions, "
            "or a folder with metadata.jsonl or a .txt next to each image"
        )
    source = open_folder(str(path), split="train", caption="text", label="label")
    if "text" in source.absent:
        raise InputError(source.absent["text"])
    texts = {Path(str(record["image"])).resolve(): record["text"] for record in source}
    places = [Path(str(file)).resolve() for file in files]
    for file, place in zip(files, places, strict=True):
        if place not in texts:
            raise InputError(f"{file} has no caption: expected one for each image of '{path}'")
    found = (texts[place] for place in places)
    return [text if isinstance(text, str) else text[0] for text in found]
