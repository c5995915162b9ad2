"""What an image says of how it was drawn, so that `sample.py --from PNG` draws it again."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ldm_jax
from ldm_jax import runs
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.sampling.frames import seeds, turns
from ldm_jax.sampling.wanted import Request

KEYWORD = "ldm_jax"  # of the text in the PNG
SPELLED = {
    "prompts": "prompt",
    "negative_prompts": "negative_prompt",
    "labels": "label",
    "to_prompts": "to_prompt",
    "to_seeds": "to_seed",
}
# given anew, these are not to meet what is remembered of the others
SETTLES = {
    "sampler": ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise"),
    "times": ("steps", "grid"),
    "steps": ("times",),
    "grid": ("times",),
    "compose": ("compose_weights",),
    "prompts_file": ("prompt",),
    "mask": ("strength",),
    "frames": ("num", "turn"),
}


def alone(request: Request, i: int) -> Request:
    """The request for image i of a request alone."""

    def own(values: tuple) -> tuple:
        return values and (values[turns(request)[i] % len(values)],)

    return replace(
        request,
        num=1,
        preview_every=None,  # of no matter for the image
        preview_with=None,
        seed=int(seeds(request)[i]),
        turn=request.turn + i,
        prompts=own(request.prompts),
        negative_prompts=own(request.negative_prompts),
        labels=own(request.labels),
    )


def text(trained: runs.Trained, request: Request, i: int) -> dict[str, str]:
    """What the PNG of image i says: JSON of its run, checkpoint and request."""
    said = {
        "run": str(trained.run),
        "checkpoint": trained.step,
        "ldm_jax": ldm_jax.__version__,
        "request": asdict(alone(request, i)),
    }
    return {KEYWORD: json.dumps(said)}


def read(path: str) -> dict[str, Any]:
    """The same of a file.

    Raises:
        InputError: no such file, no PNG, or one that sample.py did not write.
    """
    if not Path(path).is_file():
        raise InputError(f"--from '{path}' does not exist: expected a PNG that sample.py wrote")
    try:
        said = json.loads(image_files.read_text(path).get(KEYWORD, "null"))
    except Exception as error:
        raise InputError(f"--from '{path}' cannot be read ({error}): expected a PNG") from error
    if not isinstance(said, dict) or not isinstance(said.get("request"), dict):
        raise InputError(
            f"--from '{path}' does not say how it was drawn: expected a PNG that sample.py wrote "
            "of a diffusion model, and that nobody saved again"
        )
    return said


def settings(said: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """Options of sample.py, by name, as an image has them; those that are None are left out.

    Args:
        given: options that are given anew.
    """
    asked = {SPELLED.get(name, name): value for name, value in said["request"].items()}
    settled = {other for name in given for other in SETTLES.get(name, ())}
    settled |= {"steps", "grid"} if asked.get("times") else set()
    found = {}
    for name, value in asked.items():
        if value is None or name in settled or name in given:
            continue
        value = tuple(value) if isinstance(value, list) else value
        found[name] = tuple(map(str, value)) if name == "label" else value
    return found
