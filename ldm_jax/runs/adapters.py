"""Adapters of other runs and of files, attached to the run of a base."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.adapters import KINDS
from ldm_jax.adapters.adapter import adapted, init_adapters, merged, switchable
from ldm_jax.adapters.settings import AdapterSettings, Arrays, Base
from ldm_jax.errors import InputError, read_json, reading
from ldm_jax.experiments import AdapterExperiment
from ldm_jax.runs.digest import model_digest
from ldm_jax.runs.loading import Trained, load_weights, model_shapes
from ldm_jax.runs.paths import folder, is_run, load_config_of
from ldm_jax.runs.writing import write_description
from ldm_jax.types import Adapter, Params
from ldm_jax.weights.formats import instant_id_folder, peft_folder
from ldm_jax.weights.formats.files import read_weights

NAME = "adapter"  # in params["adapters"] of its own run
FORM = "RUN_OR_FILE[:SCALE[@START-END]]"
# the weights in a folder of PEFT or diffusers
FILES = (
    "adapter_model.safetensors",
    "adapter_model.bin",
    "pytorch_lora_weights.safetensors",
    "pytorch_lora_weights.bin",
    "learned_embeds.safetensors",
    "learned_embeds.bin",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
)


class Word(NamedTuple):
    """What --adapter says: where it is, its scale, and the share of the steps that it has."""

    place: str
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    @property
    def name(self) -> str:
        """What the adapter is called."""
        path = Path(self.place)
        return folder(path).name if is_run(path) else path.stem if path.suffix else path.name


class Attached(NamedTuple):
    """An adapter of a model.

    plain: its settings without its name, as a config has them
    base: the model that it was built for
    read: () -> its params
    of:   digest of the weights that it was trained on; None: not known
    """

    word: Word
    settings: AdapterSettings
    plain: AdapterSettings
    adapter: Adapter
    base: Base
    read: Callable[[], Params]
    of: str | None = None

    @property
    def name(self) -> str:
        return self.word.name

    @property
    def switch(self) -> str:
        """The entry of a batch that turns it off in the unconditional inputs."""
        return f"on.{self.name}"


def parsed(text: str) -> Word:
    """What `FORM` says.

    Raises:
        InputError: no such run or file, or numbers that are none.
    """
    place, colon, numbers = text.rpartition(":")
    if not colon or Path(text).exists() or not Path(place).exists():
        place, numbers = text, ""
    if not Path(place).exists():
        raise InputError(
            f"--adapter '{place}' does not exist: expected {FORM}, the run of an adapter or a file"
        )
    if not numbers:
        return Word(place)
    found = re.fullmatch(r"([^@]*)(?:@([^-]*)-([^-]*))?", numbers)
    scale, *window = found.groups() if found else (numbers, None, None)
    try:
        scale, (start, end) = float(scale), [float(x) if x else i for i, x in enumerate(window)]
        good = math.isfinite(scale) and 0 <= start < end <= 1
    except ValueError:
        good = False
    if not good:
        raise InputError(
            f"--adapter '{text}' has the scale '{numbers}': expected a number, and then perhaps "
            "@START-END, shares of the steps from 0 to 1, such as 0.8@0-0.5"
        )
    return Word(place, scale, start, end)


def attach(described: Trained, texts: Sequence[str]) -> Trained:
    """A described run with adapters; `loading.with_weights` reads theirs, too.

    Args:
        texts: as `FORM` has them, in the order in which they change weights.

    Raises:
        InputError: what is no adapter, or does not fit the base.
    """
    words = [parsed(text) for text in texts]
    names = [word.name for word in words]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--adapter has two of the name '{name}': expected different names")
    if not words:
        return described
    base = Base(described.experiment, described.model, described.tokenizers)
    attached = []
    for word in words:
        found = (_of_run if is_run(word.place) else _of_file)(word, base)
        base = found.base
        attached.append(found)
    return _with(described, base, attached)


def attach_described(described: Trained, words: Sequence[Word]) -> Trained:
    """The same with adapters of which there are settings alone, where `write_described` put them.

    Raises:
        InputError: they are not there, or do not fit the base.
    """
    base = Base(described.experiment, described.model, described.tokenizers)
    attached = []
    for word in words:
        settings = load_config_of(Path(word.place), AdapterExperiment).adapter
        attached.append(_attached(word, settings, base))
    return _with(described, base, attached)


def write_described(attached: Sequence[Attached], folder: Path) -> None:
    """Writes the settings of adapters, each in a folder of its name."""
    for one in attached:
        (folder / one.name).mkdir(parents=True)
        write_description(folder / one.name, AdapterExperiment(adapter=one.plain), {})


def _with(described: Trained, base: Base, attached: Sequence[Attached]) -> Trained:
    model = adapted(base.model, {one.name: one.adapter for one in attached})
    return described._replace(
        experiment=base.experiment,
        model=model,
        tokenizers=base.tokenizers,
        adapters=tuple(attached),
        base=described,
        join=partial(_join, attached),
    )


def check_of_weights(described: Trained) -> None:
    """Raises InputError where an adapter of a run changes more than weights."""
    for one in described.adapters:
        if one.adapter.weights is None or one.adapter.signal is not None:
            raise InputError(
                f"--adapter '{one.word.place}' is {one.settings.kind}, which acts at each step: "
                "expected an adapter of weights, such as a LoRA; sample.py and export.py take the "
                "others"
            )


def _of_run(word: Word, base: Base) -> Attached:
    experiment = load_config_of(Path(word.place), AdapterExperiment)
    attached = _attached(word, experiment.adapter, base)
    shapes = model_shapes(base.model)
    own = {NAME: attached.adapter}
    drawn = jax.eval_shape(partial(init_adapters, own), jax.random.key(0), shapes)

    def read() -> Params:
        return load_weights(Path(word.place), {"adapters": drawn})["adapters"][NAME]

    return attached._replace(read=read, of=experiment.base_digest)


def _of_file(word: Word, base: Base) -> Attached:
    path, metadata = Path(word.place), {}
    for layout in (peft_folder, instant_id_folder):
        if path.is_dir() and layout.found(path):
            return _read(word, path, *layout.read(path), base)
    if path.is_dir():
        metadata = {file.name: json.dumps(read_json(file)) for file in path.glob("*.json")}
        there = [path / name for name in FILES if (path / name).is_file()]
        if not there:
            raise InputError(
                f"--adapter '{path}' is no adapter: expected the run of one, a file, or a folder "
                f"with {FILES[0]} or the like"
            )
        path = there[0]
    weights = read_weights(path)
    metadata = {**weights.metadata, **metadata, "file": path.stem, "folder": str(path.parent)}
    return _read(word, path, weights, metadata, base)


def _read(
    word: Word, path: Path, weights: Arrays, metadata: Mapping[str, str], base: Base
) -> Attached:
    """The adapter of whatever kind in what was read of a path."""
    kinds = ", ".join(kind.kind for kind in KINDS)
    for kind in KINDS:
        try:
            with reading("it", f"{kind.kind} as published"):
                found = kind.of_file(weights, metadata, base)
        except InputError as error:
            raise InputError(f"'{path}': {error}") from None
        if found:
            settings, own = found
            return _attached(word, settings, base)._replace(read=partial(dict, own))
    first = next(iter(weights), "nothing")
    raise InputError(
        f"'{path}' holds no adapter that is known, its first key is '{first}': expected {kinds}"
    )


def _attached(word: Word, settings: AdapterSettings, base: Base) -> Attached:
    plain, settings = settings, settings.named(word.name)
    base = settings.read(base)
    settings.check(base, f"'{word.place}': ")
    if not settings.has_window and (word.start, word.end) != (0.0, 1.0):
        raise InputError(
            f"--adapter '{word.place}' has a start and an end, and is {settings.kind}, which "
            "changes weights: expected a scale alone"
        )
    found = Attached(word, settings, plain, settings.build(base), base, dict)
    if settings.has_switch:
        found = found._replace(adapter=switchable(found.adapter, found.switch))
    return found


def _join(attached: Sequence[Attached], params: Params) -> Params:
    """The params of a base with those of adapters; what these change in weights is changed."""
    digest = model_digest(params) if any(one.of for one in attached) else None
    for one in attached:
        if one.of not in (None, digest):
            raise InputError(
                f"adapter '{one.word.place}' was trained on another base, whose weights have the "
                f"digest {one.of} and not {digest}: expected that base; a file made of it "
                "(scripts/convert.py) goes with any of its shapes"
            )
    own = {one.name: jax.tree.map(jnp.asarray, one.read()) for one in attached}
    scales = {one.name: jnp.float32(one.word.scale) for one in attached}
    adapters = {one.name: one.adapter for one in attached}
    return merged(adapters, {**params, "adapters": own, "scales": scales}, scales)
