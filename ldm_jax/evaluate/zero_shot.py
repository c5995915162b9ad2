"""Images sorted into classes by their names (Radford et al. 2021, section 3.1)."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image
from tokenizers import Tokenizer

import ldm_jax
from ldm_jax import runs
from ldm_jax.conditioning import clip_image
from ldm_jax.data import pipeline, transforms
from ldm_jax.data.settings import Data
from ldm_jax.encoders.clip.model import CLIP, MODELS, CLIPName, embed_captions, embed_images, unit
from ldm_jax.encoders.clip.vision import normalised
from ldm_jax.encoders.tokenizers import clip as clip_tokenizer
from ldm_jax.encoders.tokenizers.tokenizer import encode
from ldm_jax.errors import InputError
from ldm_jax.evaluate.sets import spread
from ldm_jax.experiments.train import check_batch
from ldm_jax.metrics.classification import confusion, ensemble, top
from ldm_jax.runtime.sharding import devices
from ldm_jax.settings import check_folder
from ldm_jax.types import Params
from ldm_jax.weights.names.clip_file import load_clip


@dataclass(frozen=True)
class Options:
    """The settings of `zero-shot`."""

    classes: tuple[str, ...] = ()
    """what the classes are called, in the order of their numbers, or a .txt with one a line; as the
    data calls them where not given"""
    templates: tuple[str, ...] = ("a photo of a {}.",)
    """what is said of an image of a class, which stands for {}, or a .txt with one a line; the
    answer is by the mean of all"""
    clip: CLIPName = "vit_l14"
    """which model weights are of; a run says it itself"""
    tokenizer: str | None = None
    """of weights: a tokenizer.json or merges.txt; the published one of a package where not given"""
    split: str = "test"
    """of the data, where it has splits"""
    label: str = "label"
    """the field of the data that holds the class"""
    num: int | None = None
    """images, spread evenly; all where not given"""
    batch_size: int = 32
    """images, or captions, that the model sees at once"""
    out: str = "zero-shot"
    """folder to write to"""


class Judge(NamedTuple):
    """A model, how it reads, and how images are made ready for it.

    data: as it was trained, or where that is not known, no more than the size
    fit: from an image to [size, size, 3] uint8, by `filter`
    """

    name: str
    model: CLIP
    params: Params
    tokenizer: Tokenizer
    data: Data
    fit: Callable[[Image.Image, int], np.ndarray]
    filter: str
    said: dict[str, Any]


def zero_shot(model: str, data: str, options: Options) -> None:
    """Sorts images of DATA by a CLIP, a run or a file; writes OUT/zero-shot.json and .md.

    Raises:
        InputError: no such model, no classes, or a template without a place for them.
    """
    check_batch(options.batch_size, "--batch-size")
    out = Path(options.out)
    check_folder(out, "--out")
    templates = _lines(options.templates, "--templates")
    for template in templates:
        if "{}" not in template:
            raise InputError(f"--templates has '{template}': expected {{}} where the class stands")
    judge = find_judge(model, options)
    asked = replace(judge.data, path=data, split=options.split, label=options.label, upscale=True)
    source, info = pipeline.open_source(asked)
    if not info.class_names:
        raise InputError(source.absent.get("label", f"'{data}' has no classes"))
    classes = _lines(options.classes, "--classes") or info.class_names
    if len(classes) != len(info.class_names):
        raise InputError(
            f"--classes names {len(classes)}: expected {len(info.class_names)}, the classes of "
            f"'{data}': {', '.join(info.class_names[:5])}, ..."
        )
    num = min(options.num or len(source), len(source))
    weights = class_weights(judge, classes, templates, options.batch_size)
    logits, labels = sorted_out(judge, source, asked, num, weights, options.batch_size)
    table = confusion(np.argmax(logits, axis=1), labels, len(classes))
    k = min(5, len(classes))
    report = {
        "top-1": top(logits, labels, 1),
        f"top-{k}": top(logits, labels, k),
        "num": num,
        "chance": 1.0 / len(classes),
        "classes": list(classes),
        "templates": list(templates),
        "confusion": table.tolist(),
        "data": {"path": data, "split": options.split, "label": options.label},
        "model": judge.said,
        "preparation": f"shorter side to {asked.image_size} pixels by {judge.filter}, "
        "cropped in the middle",
        "ldm_jax": ldm_jax.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "zero-shot.json").write_text(json.dumps(report, indent=2) + "\n")
    text = markdown(report)
    (out / "zero-shot.md").write_text(text)
    print(text)


def find_judge(place: str, options: Options) -> Judge:
    """The model of a run, or of a file or folder of weights from elsewhere."""
    if runs.is_run(place):
        found = runs.load_clip(Path(place))
        said = {"run": str(found.run), "step": found.step, "weights": "averages"}
        towers = (found.model, found.params, found.tokenizer)
        return Judge(place, *towers, found.experiment.data, _as_in_training, "lanczos", said)
    model = MODELS[options.clip]
    tokenizer = clip_tokenizer.load(options.tokenizer, model.text.length, model.weights)
    weights = load_clip(options.clip, model, place)
    said = {"clip": options.clip, "weights": weights.path.name, "sha256": weights.sha256}
    data = Data(image_size=model.vision.size)
    return Judge(
        options.clip, model, weights.params, tokenizer, data, clip_image.middle, "bicubic", said
    )


def _as_in_training(image: Image.Image, size: int) -> np.ndarray:
    """The middle of an image, [size, size, 3] uint8."""
    return transforms.center_crop(np.asarray(transforms.resize(image, size)), size)


def class_weights(
    judge: Judge, classes: Sequence[str], templates: Sequence[str], batch_size: int
) -> np.ndarray:
    """[K, dim] of unit length, one direction a class."""
    captions = [template.replace("{}", name) for name in classes for template in templates]
    tokens = np.stack([encode(judge.tokenizer, caption) for caption in captions])

    def embed(params, tokens):
        return unit(embed_captions(judge.model, params, tokens))

    batches = (tokens[i : i + batch_size] for i in range(0, len(tokens), batch_size))
    found = np.concatenate(list(_each(embed, judge.params, batches, batch_size)))
    return ensemble(found.reshape(len(classes), len(templates), -1))


def sorted_out(
    judge: Judge, source: Any, data: Data, num: int, weights: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The cosines [N, K] of `num` images and the classes' directions, and labels [N]."""
    chosen = list(spread(len(source), num))
    labels = np.array([source[i]["label"] for i in chosen], np.int64)

    def embed(params, images):
        return unit(embed_images(judge.model, params, normalised(images / 255.0)))

    def pictures() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(data.threads) as pool:
            for start in range(0, num, batch_size):
                some = chosen[start : start + batch_size]
                yield np.stack(list(pool.map(lambda i: _picture(source[i], data, judge.fit), some)))

    found = list(_each(embed, judge.params, pictures(), batch_size))
    return np.float64(np.concatenate(found)) @ weights.T, labels


def _picture(record: dict[str, Any], data: Data, fit: Callable) -> np.ndarray:
    """float32 [size, size, 3] of 0 ... 255."""
    try:
        image = transforms.decode(record["image"], data.background)
    except Exception as error:  # Pillow's readers raise anything for a damaged file
        raise InputError(
            f"{record['name']} cannot be read: expected a whole image; mend it or remove it"
        ) from error
    return np.float32(fit(image, data.image_size))


def _each(embed: Callable, params: Params, batches, size: int) -> Iterator[np.ndarray]:
    """What `embed` makes of batches of at most `size`, over all devices; compiled once."""
    everywhere, embed = devices("jit"), jax.jit(embed)
    params = everywhere.replicate(params)
    for batch in batches:
        rows = np.minimum(np.arange(size), len(batch) - 1)  # the last fills the batch up
        yield everywhere.collect(embed(params, everywhere.share(batch[rows])))[: len(batch)]


def _lines(given: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """The words given, or where it is one file, its lines."""
    if len(given) != 1 or not given[0].endswith(".txt"):
        return given
    if not Path(given[0]).is_file():
        raise InputError(f"{flag} '{given[0]}' does not exist: expected a file with one a line")
    lines = (line.strip() for line in Path(given[0]).read_text("utf-8").splitlines())
    return tuple(line for line in lines if line)


MOST_SHOWN = 20  # classes in the table of confusions


def markdown(report: dict[str, Any]) -> str:
    """The report as text: accuracies, and of few classes which was taken for which."""
    names, table = report["classes"], np.array(report["confusion"])
    said = [f"{name} {report[name]:.1%}" for name in report if name.startswith("top-")]
    lines = [
        f"zero-shot accuracy: {', '.join(said)} of {report['num']} images "
        f"(by chance {report['chance']:.1%}; {len(report['templates'])} templates a class)",
        "",
    ]
    if len(names) <= MOST_SHOWN:
        lines += ["| is, taken for | " + " | ".join(names) + " | right |"]
        lines += ["|---" * (len(names) + 2) + "|"]
        for i, name in enumerate(names):
            right = f"{table[i, i] / table[i].sum():.1%}" if table[i].any() else "none shown"
            lines += [f"| {name} | {' | '.join(map(str, table[i]))} | {right} |"]
    else:
        wrong = table - np.diag(np.diag(table))
        most = np.argsort(-wrong, axis=None, kind="stable")[:MOST_SHOWN]
        pairs = zip(*np.unravel_index(most, wrong.shape), strict=True)
        lines += ["most often taken for another:"]
        lines += [f"- {names[i]} for {names[j]}: {wrong[i, j]}" for i, j in pairs if wrong[i, j]]
    return "\n".join(lines) + "\n"
