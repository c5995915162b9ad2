"""What a request says to the adapters that are attached to its run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp
import numpy as np
import tyro

from ldm_jax.adapters.adapter import Scales, Window
from ldm_jax.errors import InputError
from ldm_jax.sampling.sampler import times_of
from ldm_jax.sections import Request, RunView, Section, flag, for_each_composed, turns
from ldm_jax.settings import NotNegative
from ldm_jax.types import Batch, Process

Places = Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN_OR_FILE[:SCALE[@START-END]] ...")]
Files = Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME=]IMAGE ...")]
# what adapters read -> of what an option is; and the options that are fields of their settings
FORMS = {"hint": "IMAGE", "image_prompt": "IMAGE", "face": "FACE.npy"}
SCALES = ("identity_scale", "face_scale")


@dataclass(frozen=True)
class Adapters(Section):
    """Adapters, and the images that they follow."""

    key: ClassVar[str] = "adapters"
    needs: ClassVar = dict.fromkeys((*FORMS, *SCALES, "guess"), "adapter")

    adapter: Places = ()
    """runs or files of adapters, each with its scale and the share of the steps in which it acts"""
    hint: Files = ()
    """images that say where things are, cycled, for ControlNets and T2I-Adapters; with several of
    these NAME says for which, as in canny=edges.png; for InstantID the image of the face's five
    points, or the points in a .json or .npy"""
    image_prompt: Files = ()
    """images that say what is shown, for IP-Adapters"""
    face: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME=]FACE.npy ...")] = ()
    """embeddings of faces, cycled, for InstantID"""
    identity_scale: NotNegative | None = None
    """how much InstantID's IdentityNet counts, which follows the five points"""
    face_scale: NotNegative | None = None
    """how much InstantID's attention to the face counts, beside that to the text"""
    guess: bool = False
    """ControlNets say what is shown without a prompt: their deeper outputs count more, and the
    unconditional images are drawn without them"""

    def check(self, request: Request, run: RunView) -> None:
        if len(self.adapter) != len(run.adapters):
            raise TypeError("adapters are attached to a run (runs.attach) before it is asked")
        if self.guess and not any(one.settings.has_guess for one in run.adapters):
            raise InputError("--guess is given without a ControlNet: leave it out")
        scaled = {name for one in run.adapters for name in one.settings.scales}
        if other := next(
            (name for name in SCALES if name in self.given and name not in scaled), ""
        ):
            raise InputError(f"{flag(other)} is given without an InstantID: leave it out")
        self._given(request, run)

    def _given(self, request: Request, run: RunView) -> Batch:
        """What the adapters read, each [n, ...], to be cycled."""
        files: dict[str, dict[str, list[str]]] = {one.name: {} for one in run.adapters}
        for option in FORMS:
            readers = [one.name for one in run.adapters if option in one.settings.options]
            for name, own in _shared_out(option, getattr(self, option), readers).items():
                files[name][option] = own
        found, size = {}, run.size(request.size.size)
        for one in run.adapters:
            found |= one.settings.given(files[one.name], size, run.data)
        return found

    def inputs(self, request: Request, run: RunView) -> Batch:
        rows, found = turns(request), self._given(request, run)
        on = np.ones(1, np.float32)
        found |= {one.switch: on for one in run.adapters if one.settings.has_guess}
        found = {name: np.asarray(x)[rows % len(x)] for name, x in found.items()}
        return for_each_composed(found, request, run.model.conditioner.droppable)

    def of_source(self, source: str | None, request: Request, run: RunView) -> Batch:
        return self.inputs(request, run)

    def each(self, request: Request, run: RunView) -> Batch:
        if not self.guess:
            return {}
        off = np.zeros(request.images.num, np.float32)
        return {f"negative.{one.switch}": off for one in run.adapters if one.settings.has_guess}

    def scales(self, request: Request, run: RunView) -> Scales:
        """How much each adapter counts, over time."""
        times, process = times_of(request, run), run.model.process
        found = {}
        for one in run.adapters:
            own = {name: self.given[name] for name in one.settings.scales if name in self.given}
            word, settings = one.word, replace(one.settings, **own)
            factors = settings.by_site(one.base, self.guess)
            first, last = window(times, word.start, word.end, process)
            sites = {site: jnp.float32(x) for site, x in factors.items()}
            found[one.name] = Window(jnp.float32(word.scale), first, last, sites)
        return found

    def describe(self, request: Request, run: RunView) -> list[str]:
        lines = []
        for one in run.adapters:
            word = one.word
            part = f", from {word.start:g} to {word.end:g} of the steps"
            window = part * ((word.start, word.end) != (0, 1))
            lines.append(f"{one.settings.kind} '{one.name}' of scale {word.scale:g}{window}")
        lines += [f"{flag(name)} {self.given[name]:g}" for name in SCALES if name in self.given]
        return lines + ["guess mode"] * self.guess


def window(times: np.ndarray, start: float, end: float, process: Process) -> tuple[Any, Any]:
    """The timesteps of the first and the last step i of K with i / K >= start, (i + 1) / K <= end.

    Args:
        times: [K + 1], from noise to image.
    """
    K = len(times) - 1
    first, last = math.ceil(start * K - 1e-9), math.floor(end * K + 1e-9) - 1
    if (start, end) == (0.0, 1.0):
        return jnp.float32(jnp.inf), jnp.float32(-jnp.inf)
    if last < first:
        return jnp.float32(-jnp.inf), jnp.float32(jnp.inf)
    ends = process.timestep(jnp.asarray(times, jnp.float32)[jnp.array([first, last])])
    most, least = jnp.float32(ends)
    slack = 1e-3 * (1.0 + jnp.abs(least))  # of rounding
    return most + slack, least - slack


def _shared_out(option: str, words: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """The files of each adapter that reads an option."""
    form = FORMS[option]
    found: dict[str, list[str]] = {name: [] for name in names}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or name not in names:
            name, path = names[0] if len(names) == 1 else "", word
        if not name:
            listed = ", ".join(names) or "none of the adapters"
            raise InputError(
                f"{flag(option)} '{word}' does not say for which adapter: expected NAME={form}, of "
                f"{listed}"
            )
        found[name].append(path)
    for name, files in found.items():
        if not files:
            said = f"{name}=" * (len(names) > 1)
            what = "face" if option == "face" else "image to follow"
            raise InputError(
                f"adapter '{name}' has no {what}: expected {flag(option)} {said}{form}"
            )
    return found
