"""Draws images from a trained latent diffusion model, or from a variational autoencoder's prior.

python sample.py RUN --num 16 --prompt "a large red circle at the center"
python sample.py RUN --interpolate 8
python sample.py --from PNG --steps 50

Writes DIR/000000.png ..., DIR/grid.png, DIR/samples.npz and DIR/report.json. Image i belongs to
seed S + i alone, whatever the batch size; prompts (or labels) are taken in turn.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ldm_jax import cli, runs, sampling
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.runtime import memory
from ldm_jax.sampling import exported, prior_request
from ldm_jax.sampling.options import Options

AROUND = ("out", "from_", "gif", "compiled")  # of no matter for which images are drawn


def parse(words: Sequence[str], default: Options | None = None) -> dict[str, Any]:
    """The settings by name, whatever their section."""
    options = cli.override(default or Options(), words, "sample.py RUN", __doc__, sections=False)
    return {name: v for part in vars(options).values() for name, v in vars(part).items()}


def again(said: dict[str, Any], settings: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The settings of an image that is to be drawn again, with the words in place of some."""
    plain = parse(())
    given = {name for name in settings if settings[name] != plain[name]}
    found = sampling.png_metadata.settings(said, given)
    sections = {
        name: replace(part, **{field: found[field] for field in vars(part) if field in found})
        for name, part in vars(Options()).items()
    }
    settings = parse(words, Options(**sections))
    settings = {name: v for name, v in settings.items() if name not in AROUND}
    return settings | {"turn": found.get("turn", 0)}


def drawn_of(said: dict[str, Any], run: Path) -> str | None:
    """The checkpoint of an image's own run that it was drawn of, where that is kept."""
    step = str(said.get("checkpoint"))
    kept = run == Path(str(said.get("run"))) and (run / "checkpoints" / step).is_dir()
    return step if kept else None


def check_rate(rate: float | None, settings: dict[str, Any]) -> None:
    """Raises InputError for frames a second that cannot be, or where there is no walk."""
    if rate is not None and not 0.0 < rate <= 100.0:
        raise InputError(f"--gif is {rate:g}: expected more than 0 and at most 100 frames a second")
    if rate is not None and not (settings["frames"] or settings["interpolate"]):
        raise InputError(f"--gif is {rate:g} without a walk: expected --frames N, too")


def draw_compiled(folder: str, run: str | None, out: str | None, settings: dict[str, Any]) -> None:
    """Draws with programs that were exported."""
    if run or settings.pop("checkpoint"):
        raise InputError(
            f"--compiled '{folder}' is a model by itself: leave RUN and checkpoint out"
        )
    memory.share_arenas(Path(folder).glob("*"))
    found = exported.load(folder)
    wanted = exported.resolve(found, **settings)
    place = Path(out or Path(folder) / f"samples-seed{wanted.seed}")
    cli.check_folder(place, "--out")
    drawn = exported.draw(found, wanted)
    sampling.write(place, drawn, found.described, wanted)
    print(f"{len(drawn.images)} images in {place}, together in {place / 'grid.png'}")


def main(words: Sequence[str]) -> None:
    """Parse, load, draw, write."""
    run, rest = (None, words) if not words or words[0].startswith("-") else (words[0], words[1:])
    settings = parse(rest)
    given, png, rate, compiled = (settings.pop(name) for name in AROUND)
    if png:
        said = sampling.png_metadata.read(png)
        settings = again(said, settings, rest)
        run = run or said.get("run")
        given = given or Path(run) / f"again-{Path(png).stem}"
    check_rate(rate, settings)
    if compiled:
        return draw_compiled(compiled, run, given, settings)
    if not run:
        raise InputError("no run: expected python sample.py RUN, a folder that train.py wrote")
    which = settings.pop("checkpoint") or (drawn_of(said, Path(run)) if png else None)
    place = runs.chosen(run, which)
    memory.share_arenas(runs.weights_files(place))
    described = runs.describe_any(place)
    kind = prior_request if isinstance(described, runs.TrainedFirstStage) else sampling
    wanted = kind.resolve(described, **settings)
    out = Path(given or described.run / f"samples-seed{wanted.seed}")
    cli.check_folder(out, "--out")
    trained = runs.with_weights(described, settings.get("param_dtype"))
    drawn = kind.draw(trained, wanted)
    kind.write(out, drawn, trained, wanted)
    if rate:
        image_files.animate(out / "walk.gif", drawn.images, rate)
    if png and trained.step != said.get("checkpoint"):
        print(
            f"warning: '{png}' was drawn of checkpoint {said.get('checkpoint')}, this of "
            f"{trained.step}",
            file=sys.stderr,
        )
    print(f"{len(drawn.images)} images in {out}, together in {out / 'grid.png'}")


if __name__ == "__main__":
    cli.main(main)
