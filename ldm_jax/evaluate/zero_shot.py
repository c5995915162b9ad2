"""Zero-shot classification by the names of classes (Radford et al. 2021, section 3.1)."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ldm_jax import runs
from ldm_jax.conditioning import clip_image
from ldm_jax.data import transforms
from ldm_jax.data.readable import spread
from ldm_jax.data.settings import Data
from ldm_jax.encoders.clip.model import CLIPName, unit
from ldm_jax.errors import InputError
from ldm_jax.evaluate import clip, results
from ldm_jax.experiments.train import check_batch
from ldm_jax.metrics.classification import confusion, ensemble, top
from ldm_jax.runtime.files import write_whole
from ldm_jax.settings import AtLeast1, check_folder, read_text

MOST_SHOWN = 20  # classes in the confusion matrix


@dataclass(frozen=True)
class Options:
    """The settings of `zero-shot`."""

    classes: tuple[str, ...] = ()
    """names of the classes in order, or a .txt with one per line; default: the data's names"""
    templates: tuple[str, ...] = ("a photo of a {}.",)
    """captions with {} for the class, or a .txt with one per line; embeddings are averaged"""
    clip: CLIPName = "vit_l14"
    """the model of the weights; not needed for a run"""
    tokenizer: str | None = None
    """of weights: a tokenizer.json or merges.txt; default: the published one of a package"""
    split: str = "test"
    """of the data, where it has splits"""
    label: str = "label"
    """the field of the data with the class"""
    num: AtLeast1 | None = None
    """images, evenly spaced; default: all"""
    batch_size: AtLeast1 = 32
    """images, or captions, per batch"""
    out: str = "zero-shot"
    """folder to write to"""


class Classifier(NamedTuple):
    """A CLIP and its image preprocessing.

    data: of its training, or where that is unknown, only the size
    fit: from an image to [size, size, 3] uint8, by `filter`
    """

    encoders: clip.Encoders
    data: Data
    fit: Callable[[Image.Image, int], np.ndarray]
    filter: str


def zero_shot(model: str, data: str, options: Options) -> None:
    """Classifies images of DATA by a CLIP, a run or a file; writes OUT/zero-shot.json and .md.

    Raises:
        InputError: no such model, no classes, or a template without {}.
    """
    check_batch(options.batch_size, "--batch-size")
    out = Path(options.out)
    check_folder(out, "--out")
    results.check_own(out, "zero-shot.json", "top-1", "zero-shot.md")
    templates = _lines(options.templates, "--templates")
    for template in templates:
        if "{}" not in template:
            raise InputError(f"--templates has '{template}': expected {{}} for the class")
    classifier = find_classifier(model, options)
    asked = replace(classifier.data, path=data, split=options.split, label=options.label)
    asked = replace(asked, upscale=True)
    source, info = results.open_images(asked)
    if not info.class_names:
        raise InputError(info.absent["label"])
    classes = _lines(options.classes, "--classes") or info.class_names
    if len(classes) != len(info.class_names):
        raise InputError(
            f"--classes names {len(classes)}: expected {len(info.class_names)}, the classes of "
            f"'{data}': {', '.join(info.class_names[:5])}, ..."
        )
    num = results.count_of(options.num, len(source), f"'{data}'")
    weights = class_weights(classifier.encoders, classes, templates, options.batch_size)
    logits, labels = sorted_out(classifier, source, asked, num, weights, options.batch_size)
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
        "model": classifier.encoders.facts,
        "preparation": f"shorter side to {asked.image_size} pixels by {classifier.filter}, "
        "cropped in the centre",
        **results.software(),
    }
    results.write_json(out / "zero-shot.json", report)
    text = markdown(report)
    write_whole(out / "zero-shot.md", text)
    print(text)


def find_classifier(place: str, options: Options) -> Classifier:
    """The model of a run, or of a file or folder of published weights."""
    if runs.is_run(place):
        data = runs.load_config(Path(place)).data
        return Classifier(clip.trained(place), data, _as_in_training, "lanczos")
    encoders = clip.published(options.clip, place, options.tokenizer)
    data = Data(image_size=encoders.model.vision.size)
    return Classifier(encoders, data, clip_image.middle, "bicubic")


def _as_in_training(image: Image.Image, size: int) -> np.ndarray:
    """The centre of an image, [size, size, 3] uint8."""
    return transforms.center_crop(np.asarray(transforms.resize(image, size)), size)


def class_weights(
    encoders: clip.Encoders, classes: Sequence[str], templates: Sequence[str], batch_size: int
) -> np.ndarray:
    """[K, dim] of unit length, one per class."""
    captions = [template.replace("{}", name) for name in classes for template in templates]
    found = np.asarray(unit(encoders.captions(captions, batch_size)))
    return ensemble(found.reshape(len(classes), len(templates), -1))


def sorted_out(
    classifier: Classifier, source: Any, data: Data, num: int, weights: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The cosines [N, K] of `num` images and the classes' directions, and labels [N]."""
    chosen = list(spread(len(source), num))
    labels = np.array([source[i]["label"] for i in chosen], np.int64)

    def images() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(data.threads) as pool:
            for start in range(0, num, batch_size):
                some = (source[i] for i in chosen[start : start + batch_size])
                yield np.stack(list(pool.map(lambda x: _image(x, data, classifier.fit), some)))

    found = unit(classifier.encoders.images(images(), batch_size))
    return np.float64(found) @ weights.T, labels


def _image(record: dict[str, Any], data: Data, fit: Callable) -> np.ndarray:
    """float32 [size, size, 3] of 0 ... 255."""
    try:
        image = transforms.decode(record["image"], data.background)
    except Exception as error:  # Pillow's readers raise anything for a damaged file
        raise InputError(
            f"{record['name']} cannot be read: expected a complete image; repair or remove it"
        ) from error
    return np.float32(fit(image, data.image_size))


def _lines(given: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """The given texts, or the lines of a single file."""
    if len(given) != 1 or not given[0].endswith(".txt"):
        return given
    lines = (line.strip() for line in read_text(given[0], flag).split("\n"))
    found = tuple(line for line in lines if line)
    if not found:
        raise InputError(f"{flag} '{given[0]}' has no lines: expected one per line")
    return found


def markdown(report: dict[str, Any]) -> str:
    """The report as text: accuracies, and for few classes the confusion matrix."""
    names, table = report["classes"], np.array(report["confusion"])
    accuracies = [f"{name} {report[name]:.1%}" for name in report if name.startswith("top-")]
    lines = [
        f"zero-shot accuracy: {', '.join(accuracies)} of {report['num']} images "
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
