"""Draws images from a trained latent diffusion model, or from a variational autoencoder's prior.

    python sample.py RUN --num 16 --prompt "a large red circle at the center"
    python sample.py RUN --prompt "a red circle" "a blue square" --interpolate 8
    python sample.py RUN --init-image photo.png --strength 0.6
    python sample.py --repeat runs/demo/samples-seed0/000003.png --steps 50
    python sample.py configs/cascades/glide.py --prompt "a red circle" --stages.1.steps 27

Writes DIR/000000.png ..., DIR/grid.png, DIR/samples.npz and DIR/report.json. Image i belongs to
seed S + i alone, whatever the batch size; prompts (or labels) are cycled. With RUN, the options are
those that this run understands; without, those of all runs.
"""

if __name__ == "__main__":  # what is imported next takes seconds
    from ldm_jax.runtime import interrupt

    interrupt.end_on_interrupt()

import contextlib
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ldm_jax import cli, runs, sampling
from ldm_jax.errors import InputError
from ldm_jax.experiments import Stage
from ldm_jax.runtime import memory
from ldm_jax.sampling import cascade_request, exported, png_metadata, prior
from ldm_jax.sampling.request import every_section, filled, sections_of
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request, RunView, flag, once, options_of, unknown


def parse(words: Sequence[str], run: RunView | None = None) -> Request:
    """The request in words, with nothing filled in; None: of any run."""
    new = Request.of(sections_of(run) if run else once(every_section()))

    def elsewhere(words: list[str]) -> None:
        name, equals, value = words[0].removeprefix("--").partition("=")
        value = value if equals else " ".join(words[1:2])
        if run:
            unknown({name.replace("-", "_"): value}, every_section(), run)

    made = cli.override(
        options_of(new), words, "sample.py RUN", __doc__, sections=False, elsewhere=elsewhere
    )
    return Request.of(vars(made).values())


def named(words: Sequence[str], request: Request) -> set[str]:
    """The options that stand in words."""
    flags = {word.split("=")[0].replace("_", "-") for word in words}
    return {name for name in request.owners() if flag(name) in flags}


def show_help(run: str | None, words: Sequence[str]) -> None:
    """Prints the help of a run's options, or of all where it cannot be read; ends the program."""
    understood = None
    with contextlib.suppress(InputError):
        understood = view(runs.describe_any(Path(run))) if run else None
    parse(words, understood)


def checkpoint_of(record: dict[str, Any], run: Path) -> str | None:
    """The checkpoint of an image's own run that it was drawn of, where that is kept."""
    step = str(record.get("checkpoint"))
    kept = run == Path(str(record.get("run"))) and (run / "checkpoints" / step).is_dir()
    return step if kept else None


def draw_compiled(folder: str, run: str | None, words: Iterable[str]) -> None:
    """Draws with programs that were exported."""
    memory.share_arenas(Path(folder).glob("*"))
    found = exported.load(folder)
    asked = parse([*words], view(found.described))
    if run or asked.output.checkpoint:
        raise InputError(
            f"--compiled '{folder}' is a model by itself: leave RUN and checkpoint out"
        )
    request = exported.filled(found, asked)
    out = Path(request.output.out or Path(folder) / f"samples-seed{request.images.seed}")
    sampling.check_out(out, request, view(found.described))
    sampling.write(out, exported.draw(found, request), found.described, request)


def draw_cascade(path: str, words: Sequence[str]) -> None:
    """Draws through the stages of a cascade; --stages.1.steps is --stages.1.sampling.steps."""
    of = cascade_request.with_sampling(cli.load_cascade(path))
    words = [re.sub(r"^--stages\.(\d+)\.(?=[a-z-]+($|=))", _of_sampling, word) for word in words]
    asked, of = cli.override_both(cascade_request.Asked(), of, words, f"sample.py {path}", __doc__)
    cascade_request.draw_and_write(Path(path), of, asked)


def _of_sampling(found: re.Match[str]) -> str:
    """The beginning of a stage's option, where that is one of its sampling."""
    name = re.split("[.=]", found.string)[2].replace("-", "_")
    own = name in {field.name for field in fields(Stage)}
    return found[0] if own else f"{found[0]}sampling."


def main(words: Sequence[str]) -> None:
    """Parse, load, draw, write."""
    run, rest = (None, words) if not words or words[0].startswith("-") else (words[0], words[1:])
    if run and run.endswith(".py"):
        return draw_cascade(run, rest)
    if {"--help", "-h"} & set(words) or cli.option(words, cli.COMPLETION, cli.EITHER)[0]:
        return show_help(run, rest)
    compiled, _ = cli.option(rest, "--compiled")
    if compiled:
        return draw_compiled(compiled, run, rest)
    png, _ = cli.option(rest, "--repeat", "a PNG")
    record = png_metadata.read(png) if png else {}
    run = run or record.get("run")
    if not run:
        raise InputError("no run: expected python sample.py RUN, a folder that train.py wrote")
    which, _ = cli.option(rest, "--checkpoint", "a step, or best")
    place = runs.chosen(run, which or checkpoint_of(record, Path(run)))
    memory.share_arenas(runs.weights_files(place))
    described = runs.describe_any(place)
    understood = view(described)
    asked = parse(rest, understood)
    if png:
        asked = png_metadata.repeated(record, asked, named(rest, asked))
    described, request = filled(described, asked)
    understood = view(described)
    name = f"again-{Path(png).stem}" if png else f"samples-seed{request.images.seed}"
    out = Path(request.output.out or (Path(run) if png else described.run) / name)
    sampling.check_out(out, request, understood)
    trained = runs.with_weights(described, request.options().get("param_dtype"))
    drawn = (sampling.draw if understood.diffusion else prior.draw)(trained, request)
    sampling.write(out, drawn, trained, request)
    if png and trained.step != record.get("checkpoint"):
        print(
            f"warning: '{png}' was drawn of checkpoint {record.get('checkpoint')}, this of "
            f"{trained.step}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    cli.main(main)
