"""What a request says to models of captions: prompts, and how they are read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.encoders.tokenizers import words
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section, Texts, flag, interpolates, shown, turns
from ldm_jax.settings import read_text
from ldm_jax.types import Batch


def no_captions(option: str, value: Any, run: RunView) -> str:
    """Why a model without captions refuses prompts."""
    return (
        f"{flag(option)} {shown(value)} given to a model of {run.kind}: leave it out, or sample "
        "from a run whose config has conditions=(Text(),)"
    )


@dataclass(frozen=True)
class Prompts(Section):
    """What images show."""

    key: ClassVar[str] = "prompts"
    exportable: ClassVar[tuple[str, ...]] = ("prompt", "prompts_file", "negative_prompt")
    has_source: ClassVar[bool] = True
    settles: ClassVar = {"prompts_file": ("prompt",)}
    renamed: ClassVar = {"prompts": "prompt", "negative_prompts": "negative_prompt"}

    prompt: Texts = ()
    """captions of the images, cycled"""
    prompts_file: str | None = None
    """a text file with a prompt a line, in place of these"""
    negative_prompt: Texts = ()
    """what images are guided away from, cycled; needs guidance other than 1"""

    @classmethod
    def refusal(cls, option: str, value: Any, run: RunView) -> str:
        return no_captions(option, value, run)

    def fill(self, request: Request, run: RunView) -> Self:
        if not self.prompts_file:
            return self
        if self.prompt:
            raise InputError("--prompt and --prompts-file both say prompts: leave one of them out")
        return replace(self, prompt=read_prompts(self.prompts_file), prompts_file=None)

    def count(self) -> int | None:
        return len(self.prompt) or None

    def inputs(self, request: Request, run: RunView) -> Batch:
        several = interpolates(request) and len(self.prompt) > 1
        rows = segments(request, len(self.prompt) - 1)[0] if several else None
        return encoded(run, request, self.prompt or ("",), rows)

    def each(self, request: Request, run: RunView) -> Batch:
        if not self.negative_prompt:
            return {}
        found = encoded(run, request, self.negative_prompt)
        return {f"negative.{name}": x for name, x in found.items()}

    def of_source(self, source: str | None, request: Request, run: RunView) -> Batch:
        return encoded(run, request, (source or "",))

    def alone(self, request: Request, i: int) -> Self:
        own = replace(self, negative_prompt=_own(self.negative_prompt, request, i))
        if interpolates(request):
            return own
        return replace(own, prompt=_own(self.prompt, request, i))


@dataclass(frozen=True)
class Lengths(Section):
    """Says which prompts are cut."""

    key: ClassVar[str] = "lengths"
    saved: ClassVar[bool] = False

    def describe(self, request: Request, run: RunView) -> list[str]:
        return [
            f"of the {count} tokens of '{prompt[:40]}...' {tokenizer.truncation['max_length']} are "
            "read"
            for tokenizer in run.tokenizers.values()
            for prompt in dict.fromkeys(all_prompts(request))
            if (count := len(words.pieces(tokenizer, prompt))) > tokenizer.truncation["max_length"]
        ]


def segments(request: Request, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each frame is between the first and the last of count + 1 stops, at an even pace.

    Returns:
        [num] the segment, 0 from the first stop to the second; and float32 [num] the fraction of
        it, 0 to 1.
    """
    frame = request.images.turn + np.arange(request.images.num)
    place = frame * count / (request.interpolation.interpolate - 1)
    segment = np.minimum(place.astype(int), count - 1)
    return segment, np.float32(place - segment)


def _own(prompts: tuple[str, ...], request: Request, i: int) -> tuple[str, ...]:
    """The prompt of image i."""
    return prompts and (prompts[turns(request)[i] % len(prompts)],)


def read_prompts(path: str) -> tuple[str, ...]:
    """The lines of a text file that are not empty.

    Raises:
        InputError: no such file, no text, or nothing in it.
    """
    lines = read_text(path, "--prompts-file").replace("\ufeff", "").split("\n")
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise InputError(f"--prompts-file '{path}' is empty: expected a prompt a line")
    return prompts


def all_prompts(request: Request) -> tuple[str, ...]:
    """All prompts of a request, of whatever use."""
    found = (*request.prompts.prompt, *request.prompts.negative_prompt)
    if "composition" in request:
        found += request.composition.compose
    source = request.options().get("source")
    return found if source is None else (*found, source)


def encoded(
    run: RunView, request: Request, prompts: Sequence[str], rows: np.ndarray | None = None
) -> Batch:
    """What the conditioner reads of prompts, each [num, ...].

    Args:
        rows: [num] which of them each image has; None: they are cycled.
    """
    rows = turns(request) % len(prompts) if rows is None else rows
    if "reading" in request and request.reading.is_chunked:
        return {name: x[rows] for name, x in request.reading.chunks(run, request, prompts).items()}
    return {
        entry: np.stack([tokens.encode(tokenizer, prompt) for prompt in prompts])[rows]
        for entry, tokenizer in run.tokenizers.items()
    }
