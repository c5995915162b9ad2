"""What a request says to the adapters that are attached to its run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp
import numpy as np
import tyro

from ldm_jax.adapters.adapter import Scales, Window
from ldm_jax.adapters.settings import AdapterSection, AdapterSettings
from ldm_jax.errors import InputError
from ldm_jax.sampling.sampler import times_of
from ldm_jax.sections import (
    Request,
    RunView,
    Section,
    default,
    flag,
    for_each_composed,
    options_of,
    turns,
)
from ldm_jax.settings import subclasses
from ldm_jax.types import Batch, Process

Places = Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN_OR_FILE[:SCALE[@START-END]] ...")]


@dataclass(frozen=True)
class Adapters(Section):
    """Adapters; what they ask for themselves is in sections of their settings."""

    key: ClassVar[str] = "adapters"
    exportable: ClassVar[tuple[str, ...]] = ("adapter",)

    adapter: Places = ()
    """runs or files of adapters, each with its scale and the share of the steps in which it acts"""

    def check(self, request: Request, run: RunView) -> None:
        if len(self.adapter) != len(run.adapters):
            raise TypeError("adapters are attached to a run (runs.attach) before it is asked")
        self._given(request, run)

    def _given(self, request: Request, run: RunView) -> Batch:
        """What the adapters read, each [n, ...], to be cycled."""
        size, options = run.size(request.size.size), options_by_adapter(request, run)
        found = {}
        for one in run.adapters:
            found |= one.settings.given(options[one.name], size, run.data)
        return found

    def inputs(self, request: Request, run: RunView) -> Batch:
        rows, found = turns(request), self._given(request, run)
        on = np.ones(1, np.float32)
        found |= {one.switch: on for one in run.adapters if one.settings.has_switch}
        found = {name: np.asarray(x)[rows % len(x)] for name, x in found.items()}
        return for_each_composed(found, request, run.model.conditioner.droppable)

    def of_source(self, source: str | None, request: Request, run: RunView) -> Batch:
        return self.inputs(request, run)

    def each(self, request: Request, run: RunView) -> Batch:
        options, off = options_by_adapter(request, run), np.zeros(request.images.num, np.float32)
        return {
            f"negative.{one.switch}": off
            for one in run.adapters
            if one.settings.only_conditional(options[one.name])
        }

    def scales(self, request: Request, run: RunView) -> Scales:
        """How much each adapter counts, over time."""
        times, process = times_of(request, run), run.model.process
        found, options = {}, options_by_adapter(request, run)
        for one in run.adapters:
            word = one.word
            factors = one.settings.by_site(one.base, options[one.name])
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
        return lines


def own_sections() -> tuple[type[AdapterSection], ...]:
    """Those of all kinds of adapters that there are."""
    kinds = subclasses(AdapterSettings)
    return tuple(dict.fromkeys(section for kind in kinds for section in kind.sections))


# the options of adapters for tools that ask for these beside their own
AdapterOptions = type(options_of(Request.of((Adapters, *own_sections())), "AdapterOptions"))


def plain_scales(run: RunView) -> Scales:
    """How much each adapter counts where nothing is said of it."""
    found, always = {}, (jnp.float32(jnp.inf), jnp.float32(-jnp.inf))
    for one in run.adapters:
        own = [field for section in one.settings.sections for field in fields(section)]
        sites = one.settings.by_site(one.base, {field.name: default(field) for field in own})
        found[one.name] = Window(jnp.float32(1), *always, dict.fromkeys(sites, jnp.float32(1)))
    return found


def options_by_adapter(request: Request, run: RunView) -> dict[str, dict[str, Any]]:
    """Adapter -> the options of its sections by name, with its own share of the files.

    Raises:
        InputError: a file that is not said to be of one of them, or an adapter without one.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in run.adapters:
        own = [getattr(request, section.key) for section in one.settings.sections]
        found[one.name] = {name: x for section in own for name, x in vars(section).items()}
    for section in own_sections():
        for option, form in section.files.items():
            readers = [one.name for one in run.adapters if option in one.settings.files]
            words = getattr(getattr(request, section.key), option) if readers else ()
            for name, own in _shared_out(option, form, words, readers).items():
                found[name][option] = own
    return found


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


def _shared_out(
    option: str, form: str, words: Sequence[str], names: Sequence[str]
) -> dict[str, list[str]]:
    """The files of each adapter that reads an option."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or name not in names:
            name, path = names[0] if len(names) == 1 else "", word
        if not name:
            raise InputError(
                f"{flag(option)} '{word}' does not say for which adapter: expected NAME={form}, of "
                f"{', '.join(names)}"
            )
        found[name].append(path)
    for name, files in found.items():
        if not files:
            said = f"{name}=" * (len(names) > 1)
            what = option.replace("_", " ")
            raise InputError(
                f"adapter '{name}' has no {what}: expected {flag(option)} {said}{form}"
            )
    return found
