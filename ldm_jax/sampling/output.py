"""Where images are written, and what of: the options that do not change which images are drawn."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import tyro

from ldm_jax.sections import Section
from ldm_jax.settings import Range

Rate = Annotated[
    float, Range("more than 0 and at most 100 frames a second", lambda x: 0 < x <= 100)
]


@dataclass(frozen=True)
class Output(Section):
    """Where images are written, and which weights draw them."""

    key: ClassVar[str] = "output"
    saved: ClassVar[bool] = False
    exportable: ClassVar[tuple[str, ...]] = ("out", "repeat", "compiled", "gif")
    needs: ClassVar = {"gif": "interpolate"}

    out: str | None = None
    """folder to write to; RUN/samples-seedS where not given"""
    checkpoint: str | None = None
    """which of the run's: a step, or best, by train.best; the newest where not given"""
    repeat: Annotated[str | None, tyro.conf.arg(metavar="PNG")] = None
    """an image that this tool wrote, to draw it again with the options given here in place of its
    own. RUN may be left out; written to RUN/again-NAME where --out is not given"""
    compiled: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """programs that scripts/export.py wrote, in place of RUN: nothing is traced"""
    gif: Rate | None = None
    """images a second, at most 100, of DIR/interpolation.gif, which has those of --interpolate"""
