"""How images follow their hints: edges that are found again, against another hint and the base."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from ldm_jax import runs
from ldm_jax.adapters.hint import Hints
from ldm_jax.data import image_files, pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import held_out, results
from ldm_jax.metrics.edges import f1
from ldm_jax.sampling.adapters import AdapterOptions
from ldm_jax.settings import check_within

SHOWN = 8  # examples in the grid


@dataclass(frozen=True)
class Options(held_out.Paired):
    """The settings of `hints`."""

    captions: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """draw with the captions of the held-out images, too; without, hints alone say what to draw"""


def hints(run: str, options: Options) -> None:
    """Draws images that follow the edges of held-out images, and measures how many are there.

    The hints are given through the one adapter in the options that reads hints, whose training made
    them of images alone.
    """
    described = options.described(run)
    adapter = _reader(described)
    data = replace(described.experiment.data.seen_from(described.run), split="test")
    source, info = pipeline.open_source(data)
    check_within(options.num, "--num", 2, info.num_examples, "the held-out images")
    captioned = described.tokenizers and "text" not in info.absent
    texts = pipeline.captions(source, options.num) if options.captions and captioned else []
    derive = {"hint": lambda example, rng: adapter.settings.source.make(example)}
    batches = list(pipeline.once(data, source, options.num, ("hint",), derive))
    truth, made = (np.concatenate([b[name] for b in batches]) for name in ("image", "hint"))
    out = results.folder_of(options.out, run, "hints")
    results.claim(out, "hints", "scores.json", "grid.png", "given")
    files = _written(out / "given", made)
    given: dict[str, Any] = {"prompt": tuple(texts)} if texts else {}
    following = replace(options, adapters=replace(options.adapters, hints=Hints(files)))
    drawn = held_out.draw(described, following, out / "images", options.num, **given)
    alone = replace(options, adapters=AdapterOptions())
    base = held_out.draw(alone.described(run), alone, out / "base", options.num, **given)
    scores = {
        "hint": f1(drawn, made),
        "another hint": f1(drawn, np.roll(made, 1, axis=0)),
        "base": f1(base, made),
        "held-out images": f1(image_files.to_uint8(truth), made),
    }
    rows = [image_files.to_uint8(2.0 * made - 1.0), drawn, base]
    shown = np.stack([row[:SHOWN] for row in rows]).reshape(-1, *drawn.shape[1:])
    results.write_json(out / "scores.json", scores)
    image_files.save(out / "grid.png", image_files.grid(shown, min(SHOWN, options.num)))
    for name, value in scores.items():
        print(f"edges of {name}: {value:.3f}")
    print(f"grid, of hints, images and the base's: {out / 'grid.png'}")


def _reader(described: runs.Trained) -> runs.Attached:
    """The adapter that reads hints."""
    found = [one for one in described.adapters if [*one.settings.files] == ["hint"]]
    if len(found) != 1:
        raise InputError(
            f"--adapter has {len(found)} adapters that follow a hint: expected one, such as the "
            "run of a ControlNet"
        )
    if found[0].settings.hint != "canny":
        raise InputError(
            f"adapter '{found[0].name}' follows {found[0].settings.hint}: expected one of edges, "
            "which can be found in images again"
        )
    return found[0]


def _written(folder: Path, made: np.ndarray) -> tuple[str, ...]:
    """Hints [N, H, W, 3] of 0 to 1 as files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i:06d}.png" for i in range(len(made))]
    for file, hint in zip(files, made, strict=True):
        image_files.save(file, image_files.to_uint8(2.0 * hint - 1.0))
    return tuple(map(str, files))
