"""CLIP score: agreement of images with their captions (Hessel et al. 2021)."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np

import ldm_jax
from ldm_jax import runs
from ldm_jax.data.folder import open_folder
from ldm_jax.encoders.clip.model import MODELS, CLIPName, embed_captions, embed_images
from ldm_jax.encoders.clip.vision import normalised
from ldm_jax.encoders.tokenizers import clip as clip_tokenizer
from ldm_jax.encoders.tokenizers.tokenizer import encode
from ldm_jax.errors import InputError, reading
from ldm_jax.evaluate.generate import Generation, draw_shards
from ldm_jax.evaluate.held_out import condition_of
from ldm_jax.evaluate.samples import count_of
from ldm_jax.evaluate.sets import Images, image_paths, open_set, spread
from ldm_jax.experiments.train import check_batch
from ldm_jax.extractors.resize import pillow_bicubic
from ldm_jax.metrics.clip_score import clip_score
from ldm_jax.runtime.files import write_whole
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling.view import view
from ldm_jax.settings import check_folder, is_of
from ldm_jax.weights.names.clip_file import load_clip

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
    num: int | None = None
    """images, evenly spaced; default: all, and of a run 1000"""
    batch_size: int = 32
    """images per batch of CLIP"""
    out: str | None = None
    """folder to write to; clip-score in the folder or the run where not given"""


@dataclass(frozen=True)
class Options:
    """The settings of `clip-score`."""

    measured: Measured = field(default_factory=Measured)
    generation: Generation = field(default_factory=Generation)


def clip_scores(place: str, options: Options) -> None:
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
    out = Path(asked.out or runs.folder(place) / "clip-score")
    check_folder(out, "--out")
    if is_run:
        condition_of(view(runs.describe(Path(place))), "tokens")
    else:
        found = _images(place)
        captions = captions_of(Path(place), found.count)
        num = count_of(asked.num, found, "--num")
    model = MODELS[asked.clip]
    tokenizer = clip_tokenizer.load(asked.tokenizer, model.text.length, model.weights)
    weights = load_clip(asked.clip, model, asked.weights)
    if is_run:
        num = asked.num or 1000
        draw_shards(place, out / "generated", num, options.generation)
        found = _images(str(out / "generated"))
        captions = captions_of(out / "generated", num)
    chosen = [captions[i] for i in spread(found.count, num)]
    tokens = np.stack([encode(tokenizer, caption) for caption in chosen])
    scores = scored(model, weights.params, found.batches(num, asked.batch_size), tokens, asked)
    report = {
        "CLIP score": float(scores.mean()),
        "standard error": float(scores.std(ddof=1) / np.sqrt(num)),
        "num": num,
        "convention": CONVENTION,
        "images": {"name": found.name, "size": list(found.size), **found.facts},
        "clip": {"name": asked.clip, "weights": weights.path.name, "sha256": weights.sha256},
        "preparation": f"square from the middle, Pillow's bicubic filter to {model.vision.size}",
        "ldm_jax": ldm_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "clip-score.json", json.dumps(report, indent=2) + "\n")
    worst = np.argsort(scores)[:3]
    for i in worst:
        print(f"lowest: {scores[i]:.2f} '{chosen[i]}'")
    print(
        f"CLIP score ({asked.clip}): {report['CLIP score']:.3f} +- {report['standard error']:.3f} "
        f"({num} images)"
    )


def _images(place: str) -> Images:
    found = open_set(place)
    if not isinstance(found, Images):
        raise InputError(f"'{place}' holds statistics: expected images with captions")
    return found


def scored(model, params, batches, tokens: np.ndarray, asked: Measured) -> np.ndarray:
    """The score of each image, [N], with its tokens [N, n]."""
    devices_ = devices("jit")
    params = devices_.replicate(params)
    size = asked.batch_size

    @jax.jit
    def both(params, images, tokens):
        x = embed_images(model, params, normalised(images / 255.0))
        return x, embed_captions(model, params, tokens)

    found, start = [], 0
    for images in batches:
        count = len(images)
        rows = np.minimum(np.arange(size), count - 1)  # padded by the last
        prepared = np.float32(pillow_bicubic(_square(images), model.vision.size))[rows]
        given = devices_.split((prepared, tokens[start : start + count][rows]))
        x, y = (np.asarray(z)[:count] for z in both(params, *given))
        found.append(clip_score(x, y))
        start += count
    return np.concatenate(found)


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
    if not path.is_dir() or not image_paths(path):
        raise InputError(
            f"'{path}' has no captions: expected what sample.py or generate wrote for captions, "
            "or a folder with metadata.jsonl or a .txt next to each image"
        )
    source = open_folder(str(path), split="train", caption="text", label="label")
    if "text" in source.absent:
        raise InputError(source.absent["text"])
    captions = {}
    for i in range(len(source)):
        record = source[i]
        text = record["text"]
        captions[Path(record["image"]).resolve()] = text if isinstance(text, str) else text[0]
    files = image_paths(path)
    bare = [file for file in files if file.resolve() not in captions]
    if bare:
        raise InputError(f"{bare[0]} has no caption: expected one for each image of '{path}'")
    return [captions[file.resolve()] for file in files]
