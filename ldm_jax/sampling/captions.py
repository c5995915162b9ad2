"""Prompts of a request: from a file, weighted, longer than the encoder's context, or by another
of its layers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ldm_jax import runs
from ldm_jax.config import CLIPText
from ldm_jax.diffusion.model import with_conditioner
from ldm_jax.encoders.tokenizers import prompt_weights
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.sampling.frames import turns
from ldm_jax.sampling.wanted import Request
from ldm_jax.types import Batch, DiffusionModel


def read_prompts(path: str) -> tuple[str, ...]:
    """The lines of a text file that are not empty.

    Raises:
        InputError: no such file, no text, or nothing in it.
    """
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--prompts-file '{path}' cannot be read ({error}): expected UTF-8 text, a prompt a "
            "line"
        ) from error
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise InputError(f"--prompts-file '{path}' is empty: expected a prompt a line")
    return prompts


def check_captions(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for what only CLIP's tower can be asked for, and not so."""
    condition = trained.experiment.condition
    options = {
        "--emphasis": request.emphasis or None,
        "--long-prompts": request.long_prompts or None,
        "--clip-skip": request.clip_skip,
    }
    for flag, value in options.items():
        if value is not None and not isinstance(condition, CLIPText):
            raise InputError(
                f"{flag} is {value}: leave it out, since the model's condition is "
                f"{type(condition).__name__} and not CLIPText, whose tower it is for"
            )
    if request.clip_skip is not None and not 1 <= request.clip_skip <= condition.layers:
        raise InputError(
            f"--clip-skip is {request.clip_skip}: expected 1, the last layer that the model was "
            f"trained with, to {condition.layers}, the first"
        )
    if request.emphasis:
        for prompt in said(request):
            prompt_weights.parse(prompt)


def said(request: Request) -> tuple[str, ...]:
    """All prompts of a request."""
    source = () if request.source is None else (request.source,)
    walked = (*request.prompts, *request.to_prompts)
    return (*walked, *request.negative_prompts, *request.compose, *source)


def is_chunked(request: Request) -> bool:
    return request.emphasis or request.long_prompts


def count(trained: runs.Trained, request: Request) -> int:
    """Chunks of the longest prompt, which all prompts have; 1 where the rest is cut."""
    if not request.long_prompts:
        return 1
    tokenizer, weighted = trained.tokenizer, request.emphasis
    return max(
        prompt_weights.count_chunks(tokenizer, prompt, weighted) for prompt in ("", *said(request))
    )


def captions(
    trained: runs.Trained,
    request: Request,
    prompts: Sequence[str],
    rows: np.ndarray | None = None,
) -> Batch:
    """What the conditioner reads of prompts, each [num, ...].

    Args:
        rows: [num] which of them each image is told; None: they are taken in turn.
    """
    turn = turns(request) % len(prompts) if rows is None else rows
    tokenizer = trained.tokenizer
    if not is_chunked(request):
        return {"tokens": np.stack([tokens.encode(tokenizer, prompt) for prompt in prompts])[turn]}
    k = count(trained, request)
    each = [prompt_weights.chunks(tokenizer, prompt, request.emphasis, k) for prompt in prompts]
    read, weights = (np.stack(parts)[turn] for parts in zip(*each, strict=True))
    return {"tokens": read, "token_weights": weights}


def with_captions(trained: runs.Trained, request: Request) -> DiffusionModel:
    """The model as it reads the prompts of a request."""
    model = trained.model
    if request.clip_skip not in (None, 1):
        condition = trained.experiment.condition
        fewer = replace(condition, layers=condition.layers - request.clip_skip + 1)
        experiment = replace(
            trained.experiment, conditions=(fewer, *trained.experiment.conditions[1:])
        )
        model = experiment.build({"tokens": trained.tokenizer})
    if not is_chunked(request):
        return model
    conditioner = prompt_weights.chunked(model.conditioner, count(trained, request))
    return with_conditioner(model, conditioner)


def describe_captions(trained: runs.Trained, request: Request) -> list[str]:
    """What is done with prompts that is not plain, and what of them is not read."""
    lines = []
    if request.emphasis:
        lines.append("brackets in prompts weigh words")
    if request.clip_skip not in (None, 1):
        lines.append(f"captions by layer {request.clip_skip} of the tower from its end")
    if not isinstance(trained.experiment.condition, CLIPText):
        return lines
    if request.long_prompts:
        return [*lines, f"prompts of {count(trained, request)} chunks"]
    most = trained.experiment.condition.length - 2
    for prompt in dict.fromkeys(said(request)):
        found = len(prompt_weights.pieces(trained.tokenizer, prompt, request.emphasis)[0])
        if found > most:
            lines.append(
                f"of the {found} tokens of '{prompt[:40]}...' {most} are read (--long-prompts True "
                "reads all)"
            )
    return lines
