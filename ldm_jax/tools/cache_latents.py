"""What scripts/cache_latents.py does: encodes images once, so that training need not.

Shards are written whole or not at all, and those that are there are left: the same command goes on
where it stopped. Host p of n writes the shards p, p + n, p + 2n, ...
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from ldm_jax import checkpoint, cli, runs
from ldm_jax.conditioning.cached import SLOTS, encodings
from ldm_jax.data import latents, pipeline, transforms
from ldm_jax.data.settings import Data
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.runs.digest import caption_digest, digest
from ldm_jax.runtime.files import whole, write_whole
from ldm_jax.settings import AtLeast1
from ldm_jax.types import FirstStage, Params


@dataclass(frozen=True)
class Options:
    """The settings of cache_latents.py."""

    image_size: int | None = None
    """pixels a side; as the run's own unless given"""
    batch_size: AtLeast1 = 16
    """images that are encoded at once"""
    split: str = "train"
    """of the data"""
    caption: str = "text"
    """field that holds the caption, as data.caption"""
    label: str = "label"
    """field that holds the class, as data.label"""
    repeats: bool = False
    """images in a folder called 10_cat come ten times, as data.repeats"""
    upscale: bool = False
    """enlarge images that are smaller than image_size"""
    flips: bool = True
    """encode mirror images, too, for data.flip"""
    dtype: Literal["float32", "float16"] = "float32"
    """of what is written"""
    shards: AtLeast1 = 8
    """files"""
    embed_text: str | None = None
    """a diffusion model's run, whose frozen text encoder encodes each caption once"""
    threads: AtLeast1 = 2
    """that read and decode"""
    host: int | None = None
    """which of `hosts` this is; JAX's own unless given"""
    hosts: AtLeast1 | None = None
    """that encode at once, shards of their own each"""


def cache_latents(run: Path, data: str, out: Path, words: Sequence[str], description: str) -> None:
    """Encodes the images of `data` with the first stage of a run, into the folder `out`.

    Raises:
        InputError: what cannot be read or written, or a folder of other latents.
    """
    options = cli.override(Options(), words, "cache_latents.py RUN DATA OUT", description, False)
    found = runs.find_first_stage(run)
    settings = _settings(options, data, found.experiment.data)
    size, model = settings.image_size, found.model
    _check(options, size, model.factor)
    source, info = pipeline.open_source(settings)
    if isinstance(source, latents.Source):
        raise InputError(f"DATA '{data}' holds latents: expected images to encode")
    cli.check_folder(out, "OUT")
    params = runs.with_weights(found).params
    black = jax.jit(model.posterior)(params, jnp.zeros((1, size, size, 3)))
    shape = black.mean.shape[1:]
    keys = [key for key, field in KEYS.items() if field not in source.absent]
    captions = _Captions.of(options.embed_text, source) if options.embed_text else None
    described = latents.Described(
        source=f"{data} {options.split}",
        first_stage=digest(params, model),
        image_size=size,
        shape=shape,
        flips=options.flips,
        drawn=bool(np.isfinite(black.log_variance).all()),  # whether there is a variance
        dtype=options.dtype,
        shards=min(options.shards, len(source)),
        class_names=info.class_names,
        has_labels="label" in keys,
        has_captions="tokens" in keys,
        **(captions.described if captions else {}),
    )
    _write_index(out, described, captions.empty if captions else None)
    encode = _encoder(model, params, described, options.batch_size, captions)

    def records(number: int) -> Iterator[bytes]:
        count = described.shards
        indices = range(number * len(source) // count, (number + 1) * len(source) // count)
        return encode(pipeline.in_order(settings, source, indices, tuple(keys)))

    written = _write_missing(out, described.shards, options, records)
    size = sum(file.stat().st_size for file in out.glob("*.array_record")) / 2**20
    start = f" --init-from {options.embed_text}" if captions else ""
    print(
        f"{out}: {written}, latents of {' x '.join(map(str, shape))}"
        f"{captions.summary if captions else ''}, {size:.1f} MiB; "
        f"train on them with --data.path {out} --first-stage.run {run}{start}"
    )


def _settings(options: Options, data: str, own: Data) -> Data:
    """How images of `data` are read; `own` are the settings of the run."""
    names = ("batch_size", "split", "caption", "label", "repeats", "upscale", "threads")
    return Data(
        path=data,
        image_size=options.image_size or own.image_size,
        background=own.background,
        **{name: getattr(options, name) for name in names},
    )


def _write_missing(
    out: Path, count: int, options: Options, records: Callable[[int], Iterator[bytes]]
) -> str:
    """Writes this host's shards, of `count`, that are not there; says how many images they have."""
    host = jax.process_index() if options.host is None else options.host
    mine = range(host, count, options.hosts or jax.process_count())
    left = [n for n in mine if not latents.shard(out, n, count).exists()]
    if len(left) < len(mine):
        print(f"{out}: {len(mine) - len(left)} of {len(mine)} shards are there already")
    total = 0
    with tqdm(total=len(left), desc=str(out), unit="shard", disable=None) as bar:
        for number in left:
            total += _write_shard(latents.shard(out, number, count), records(number))
            bar.update()
    return f"{total} images in {len(left)} shards"


KEYS = {"label": "label", "tokens": "text"}  # entry of a batch -> field of a record


def _check(options: Options, size: int | None, factor: int) -> None:
    if size is None:
        raise InputError("--image-size is not set, nor is that of the run: give it in pixels")
    if size % factor:
        raise InputError(
            f"--image-size is {size}: expected a multiple of {factor}, the first stage's factor"
        )
    if (options.host is None) != (options.hosts is None):
        raise InputError("--host and --hosts go together: expected both or neither")
    if options.hosts and not 0 <= options.host < options.hosts:
        raise InputError(f"--host is {options.host}: expected 0 to {options.hosts - 1}")


class _Captions(NamedTuple):
    """What reads captions.

    described: of `latents.Described`, what is known of it
    empty:     by slot, its encoding of the empty caption
    encode:    token numbers [n, L] -> [n, numbers of all slots]
    """

    tokenizer: Tokenizer
    described: dict[str, Any]
    empty: dict[str, np.ndarray]
    encode: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of(cls, run: str, source: Any) -> "_Captions":
        """Of a diffusion model's run.

        Raises:
            InputError: what reads its captions is trained with the denoiser, or it reads none; or
                the source has no captions.
        """
        found = runs.describe(Path(run))
        conditioner = found.model.conditioner
        kind = " and ".join(type(one).__name__ for one in found.experiment.conditions) or "none"
        if conditioner.keys != ("tokens",):
            raise InputError(f"--embed-text '{run}' has the condition {kind}: expected captions")
        if conditioner.trained:
            raise InputError(
                f"--embed-text '{run}' has the condition {kind}, which is trained with the "
                "denoiser, so that its encodings change: expected a frozen one, such as CLIPText"
            )
        if "text" in source.absent:
            raise InputError(source.absent["text"])
        folder, which = runs.locate(Path(run))
        params = checkpoint.read_part(folder, "params", "conditioner", which)

        @jax.jit
        def by_slot(params, numbers):
            return encodings(conditioner.apply(params, {"tokens": numbers}))

        def encode(numbers: np.ndarray) -> np.ndarray:
            encoded = by_slot(params, numbers)  # in the order of names, unlike what is kept
            slots = [encoded[slot] for slot in SLOTS if slot in encoded]
            return np.concatenate([np.reshape(x, (len(numbers), -1)) for x in slots], axis=1)

        empty = by_slot(params, conditioner.null(1)["tokens"])
        empty = {slot: np.asarray(x[0]) for slot, x in empty.items()}
        described = {slot: x.shape for slot, x in empty.items()}
        tokenizer = found.tokenizers["tokens"]
        described["conditioner"] = caption_digest(params, tokenizer)
        return cls(tokenizer, described, empty, encode)

    @property
    def summary(self) -> str:
        """The shapes of what is kept of a caption."""
        shapes = [" x ".join(map(str, x.shape)) for x in self.empty.values()]
        return f" and captions as {' and '.join(shapes)}"


def _write_index(
    out: Path, described: latents.Described, empty: dict[str, np.ndarray] | None
) -> None:
    """Says what the folder holds, or checks that it said so before."""
    out.mkdir(parents=True, exist_ok=True)
    if latents.is_latents(str(out)):
        there = latents.describe(out)
        for field in dataclasses.fields(described):
            old, new = getattr(there, field.name), getattr(described, field.name)
            if old != new:
                raise InputError(
                    f"OUT '{out}' has latents whose {field.name} is {old}: expected {new}, or "
                    "another folder"
                )
    elif foreign := [*out.glob("*.array_record"), *out.glob(latents.EMPTY)]:
        raise InputError(
            f"OUT '{out}' has {foreign[0].name} and no {latents.INDEX}: expected another folder"
        )
    else:
        write_whole(out / latents.INDEX, json.dumps(dataclasses.asdict(described), indent=1))
    if empty and not (out / latents.EMPTY).exists():
        with whole(out / latents.EMPTY) as file:
            np.savez(file, **empty)


def _encoder(
    model: FirstStage,
    params: Params,
    described: latents.Described,
    batch_size: int,
    captions: _Captions | None,
) -> Callable[[Iterator[dict[str, Any]]], Iterator[bytes]]:
    """A function from examples to records."""

    @jax.jit
    def moments(params, images):  # [B, H, W, 3] -> [B, moment, h, w, c]
        q = model.posterior(params, images)
        return jnp.stack(q if described.drawn else q[:1], axis=1).astype(described.dtype)

    def both(images: np.ndarray) -> np.ndarray:  # -> [B, mirrored, moment, h, w, c]
        views = [images, images[:, :, ::-1]] if described.flips else [images]
        return np.stack([np.asarray(moments(params, view)) for view in views], axis=1)

    def read(texts: list[str | list[str]]) -> list[np.ndarray | None]:  # [captions, numbers] each
        if captions is None:
            return [None] * len(texts)
        each = [[text] if isinstance(text, str) else text for text in texts]
        numbers = np.stack([tokens.encode(captions.tokenizer, x) for some in each for x in some])
        found = []
        for start in range(0, len(numbers), batch_size):
            part = numbers[start : start + batch_size]
            spare = np.repeat(part[-1:], batch_size - len(part), axis=0)
            found.append(captions.encode(np.concatenate([part, spare]))[: len(part)])
        found = np.concatenate(found).astype(described.dtype)
        return np.split(found, np.cumsum([len(some) for some in each])[:-1])

    def encode(examples: Iterator[dict[str, Any]]) -> Iterator[bytes]:
        while some := list(itertools.islice(examples, batch_size)):
            read_as = read([example.get("text", "") for example in some])
            images = transforms.normalize(np.stack([example["image"] for example in some]))
            spare = np.repeat(images[-1:], batch_size - len(some), axis=0)  # one shape, one program
            moments_of = both(np.concatenate([images, spare]))[: len(some)]
            for example, numbers, encoded in zip(some, moments_of, read_as, strict=True):
                if not np.isfinite(numbers).all():
                    raise FloatingPointError(
                        f"latents of '{example['name']}' are not finite: expected weights that "
                        "are, and --dtype float32"
                    )
                header = {k: example[k] for k in ("name", "label", "text") if k in example}
                yield latents.pack(numbers, header, encoded)

    return encode


def _write_shard(file: Path, records: Iterator[bytes]) -> int:
    """Writes a shard under another name until it is whole; how many records it has."""
    from array_record.python.array_record_module import ArrayRecordWriter

    count = 0
    with whole(file) as partial:
        writer = ArrayRecordWriter(str(partial), "group_size:1")
        for record in records:
            writer.write(record)
            count += 1
        writer.close()
    return count
