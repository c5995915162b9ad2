"""A trained model for a program or a notebook: arrays in, arrays out, and nothing is printed.

    import ldm_jax

    model = ldm_jax.load("runs/demo")
    images = model.sample(prompts=["a red circle"], num=4, steps=25, guidance=2.0, seed=7)
    z = model.encode(images)
    back = model.decode(z)

What sample.py would print goes to the logger "ldm_jax". A program is compiled once for a form of
request (size, sampler, adapters, images at once) and kept by the model.
"""

import contextlib
import functools
import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import ldm_jax
from ldm_jax import convert, runs, sampling, training
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.data import image_files, transforms
from ldm_jax.data.given import load_image
from ldm_jax.errors import InputError
from ldm_jax.experiments import Experiment, FirstStageExperiment
from ldm_jax.runtime.compilation import cache_folder
from ldm_jax.sampling import prior
from ldm_jax.sampling.generate import make_generate
from ldm_jax.sampling.request import asked
from ldm_jax.sampling.stepwise import make_stepwise
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request
from ldm_jax.types import FirstStage, Params

NAMES = {"prompts": "prompt", "labels": "label", "negative_prompts": "negative_prompt"}
AnyImage = str | os.PathLike | Image.Image | np.ndarray
KEPT = 16  # programs of a model, of forms of requests

log = logging.getLogger("ldm_jax")
log.addHandler(logging.NullHandler())  # nothing is shown where the program has not set logging up


def load(
    place: str | os.PathLike,
    checkpoint: str | int | None = None,
    *,
    adapters: Sequence[str] = (),
    config: str | os.PathLike | None = None,
    tokenizer: str | os.PathLike | None = None,
    dtype: str | None = None,
) -> "Model":
    """A run with its averaged weights, or a model of others.

    What is no run is converted to one as scripts/convert.py does, once: the run is kept in the
    folder of ldm_jax's cache until the file changes.

    Args:
        place: a run, a file of weights (.ckpt, .safetensors, ...), or a folder of diffusers.
        checkpoint: of the run, by its step or "best"; None: the newest.
        adapters: runs or files of adapters, each perhaps with its scale, "RUN_OR_FILE:0.8".
        config, tokenizer: of what is converted, see scripts/convert.py.
        dtype: of the weights in memory, such as "bfloat16"; None: as they were saved.

    Raises:
        InputError: what is no model, or an adapter that does not fit it.
    """
    with _logged():
        run = Path(place)
        if not runs.is_run(run) or config or tokenizer:
            run = _converted(run, *(path and Path(path) for path in (config, tokenizer)))
        which = None if checkpoint is None else str(checkpoint)
        described = runs.attach(runs.describe_any(runs.chosen(run, which)), adapters)
        return Model(runs.with_weights(described, dtype), tuple(adapters))


def train(experiment: runs.AnyExperiment, workdir: str | os.PathLike) -> "Model | None":
    """Trains what an experiment describes in a folder, or goes on with it, as train.py does.

    Returns:
        The model; None of a training whose model draws nothing, such as that of a classifier.

    Raises:
        InputError: bad input, found before anything is written.
    """
    with _logged():
        training.train(experiment, Path(workdir))
    kinds = Experiment.kind, FirstStageExperiment.kind
    return load(workdir) if experiment.kind in kinds else None


@dataclass(frozen=True)
class Model:
    """A run with its weights; made by `load`."""

    trained: runs.Trained
    adapters: tuple[str, ...] = ()
    _programs: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def sample(self, prompts: str | Sequence[str] = (), **options: Any) -> np.ndarray:
        """Images uint8 [N, H, W, 3].

        Args:
            prompts: one or several, cycled.
            options: those of `sample.py RUN --help` by name, such as num, steps, guidance, seed,
                labels, negative_prompt, init_image. An image is a path, a PIL image or an array
                uint8 [H, W, 3] (a mask: [H, W]); latents and the like are paths or arrays.

        Raises:
            InputError: what the model cannot be asked for.
            TypeError: an option that there is not.
        """
        with _logged(), tempfile.TemporaryDirectory() as folder:
            run, request = view(self.trained), self._request(prompts, options, folder)
            if not run.diffusion:
                return prior.draw(self.trained, request).images
            return sampling.draw(self.trained, request, self._once(make_generate)).images

    def stream(
        self, prompts: str | Sequence[str] = (), preview_every: int = 1, **options: Any
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The same on the way: (step, predicted images) every few steps, at last the images.

        A caller that stops asking stops sampling. `num` is at most what is drawn at once.

        Raises:
            InputError: a first stage, whose images are drawn in one go; see `sample`.
        """
        if not view(self.trained).diffusion:
            raise InputError(f"run '{self.trained.run}' is a first stage, which has no steps")
        with _logged(), tempfile.TemporaryDirectory() as folder:
            request = self._request(prompts, options, folder)
            make = self._once(make_stepwise)
            found = sampling.draw_stepwise(self.trained, request, preview_every, make)
            one = next(found)  # by now the files have been read
        while one is not None:
            yield one
            with _logged():
                one = next(found, None)

    def _request(
        self, prompts: str | Sequence[str], options: dict[str, Any], folder: str
    ) -> Request:
        """The request of options, whose arrays are written to a folder."""
        options = {"prompts": prompts, **options} if prompts else options
        files, run = _Files(folder), view(self.trained)
        given = {NAMES.get(name, name): files.of(value) for name, value in options.items()}
        own = {"adapter": self.adapters} if self.adapters else {}
        return asked(run, **own, **given).filled(run)

    def encode(self, images: AnyImage | Sequence[AnyImage]) -> np.ndarray:
        """The means of the latents [N, h, w, c], scaled as the denoiser has them.

        Args:
            images: one or several, see `sample`, or uint8 [N, H, W, 3]; resized as in training
                where they are of another size.
        """
        one = isinstance(images, AnyImage) and np.ndim(images) < 4
        with tempfile.TemporaryDirectory() as folder:
            files = _Files(folder)
            paths = [files.of(image) for image in ([images] if one else images)]
            data = self.trained.experiment.data
            pixels = np.stack([load_image(path, "images", data) for path in paths])
        x = jnp.asarray(transforms.normalize(pixels))
        return np.asarray(self._encode(self._first_stage_params, x))

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Images uint8 [N, H, W, 3] of latents [N, h, w, c]."""
        latents = jnp.asarray(latents, jnp.float32)
        wanted = self._first_stage.channels
        if latents.ndim != 4 or latents.shape[-1] != wanted:
            raise InputError(
                f"latents have the shape {latents.shape}: expected [N, h, w, {wanted}]"
            )
        images = self._decode(self._first_stage_params, latents)
        return image_files.to_uint8(np.asarray(images))

    def encode_text(self, texts: str | Sequence[str]) -> np.ndarray:
        """The tokens [N, L, d] that the denoiser attends to, of captions alone.

        Raises:
            InputError: a model without captions.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not self.trained.tokenizers:
            raise InputError(f"run '{self.trained.run}' reads no captions: encode_text has none")
        with _logged():
            run = view(self.trained)
            request = asked(run, prompt=tuple(texts), num=len(texts)).filled(run)
            given = sampling.inputs_of(request, run)
        null = self.trained.model.conditioner.null(len(texts))
        tokens = {name: given[name] for name in self.trained.tokenizers}
        return np.asarray(self._condition(self.trained.params, {**null, **tokens}).tokens)

    @property
    def _first_stage(self) -> FirstStage:
        model = self.trained.model
        return model.first_stage if view(self.trained).diffusion else model

    @property
    def _first_stage_params(self) -> Params:
        params = self.trained.params
        return params["first_stage"] if view(self.trained).diffusion else params

    @functools.cached_property
    def _encode(self) -> Any:
        stage = self._first_stage

        return jax.jit(lambda params, x: scaled(params, stage.posterior(params, x).mean))

    @functools.cached_property
    def _decode(self) -> Any:
        stage = self._first_stage
        return jax.jit(lambda params, z: jnp.clip(stage.decode(params, z), -1.0, 1.0))

    @functools.cached_property
    def _condition(self) -> Any:
        return jax.jit(self.trained.model.condition)

    def _once(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """`make`, called once for all that its program depends on."""

        def once(*of: Any) -> Any:
            key = make, _identity(of)
            if key not in self._programs:
                if len(self._programs) == KEPT:
                    del self._programs[next(iter(self._programs))]
                self._programs[key] = of, make(*of)  # kept, so that no other has its id
            return self._programs[key][1]

        return once


def _identity(x: Any) -> Any:
    """By which two arguments of `make_generate` are the same: functions, of which models are made,
    by their ids."""
    if isinstance(x, tuple):
        return tuple(map(_identity, x))
    return x if isinstance(x, str | int | float | None) else id(x)


@dataclass(frozen=True)
class _Files:
    """A folder of images and arrays, which a request names as files."""

    folder: str

    def of(self, value: Any) -> Any:
        """An option with a path in place of each PIL image and array in it."""
        if isinstance(value, list | tuple):
            return tuple(map(self.of, value))
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if not isinstance(value, Image.Image | np.ndarray | jax.Array):
            return value
        path = os.path.join(self.folder, f"{len(os.listdir(self.folder)):06d}")
        if isinstance(value, Image.Image):
            value.save(path + ".png")
            return path + ".png"
        array = np.asarray(value)
        if array.dtype == bool:
            array = array.astype(np.uint8) * 255
        if array.dtype != np.uint8:
            np.save(path + ".npy", array, allow_pickle=False)
            return path + ".npy"
        if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)):
            raise InputError(
                f"an image has the shape {array.shape}: expected [H, W] or [H, W, 1, 3 or 4]"
            )
        Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array).save(path + ".png")
        return path + ".png"


class _Lines(io.TextIOBase):
    """Text that is written becomes lines of the log."""

    def __init__(self, level: int) -> None:
        self._level = level

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            log.log(self._level, line)
        return len(text)


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """What is printed goes to the log, and what goes to standard error is a warning there."""
    out, err = _Lines(logging.INFO), _Lines(logging.WARNING)
    orbax = logging.getLogger("absl")  # says of each folder that it is only read
    before = orbax.level
    orbax.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        orbax.setLevel(before)


def _converted(source: Path, config: Path | None, tokenizer: Path | None) -> Path:
    """The run that a model of others was converted to, now or earlier."""
    if not source.exists():
        raise InputError(
            f"'{source}' does not exist: expected a run, a file of weights or a folder of diffusers"
        )
    files = [source.resolve(), *sorted(source.rglob("*")), *filter(None, (config, tokenizer))]
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    digest = hashlib.sha256(repr((ldm_jax.__version__, facts)).encode()).hexdigest()[:32]
    run = cache_folder() / "converted" / digest
    if not run.exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        convert.convert(source, run, config, tokenizer)
    return run
