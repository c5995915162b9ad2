"""What scripts/cache_latents.py does: encodes images once, so that training need not.

Shards are written whole or not at all, and those that are there are left: the same command goes on
where it stopped. Host p of n writes the shards p, p + n, p + 2n, ...
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from ldm_jax import cli, runs
from ldm_jax.config import Data
from ldm_jax.data import latents, pipeline, transforms
from ldm_jax.errors import InputError
from ldm_jax.types import FirstStage, Params


@dataclass(frozen=True)
class Options:
    """The settings of cache_latents.py."""

    image_size: int | None = None
    """pixels a side; as the run's own unless given"""
    batch_size: int = 16
    """images that are encoded at once"""
    split: str = "train"
    caption: str = "text"
    """field that holds the caption, as data.caption"""
    label: str = "label"
    """field that holds the class, as data.label"""
    upscale: bool = False
    """enlarge images that are smaller than image_size"""
    flips: bool = True
    """encode mirror images, too, for data.flip"""
    dtype: Literal["float32", "float16"] = "float32"
    """of what is written"""
    shards: int = 8
    """files"""
    threads: int = 2
    """that read and decode"""
    host: int | None = None
    """which of `hosts` this is; JAX's own unless given"""
    hosts: int | None = None


def cache_latents(run: Path, data: str, out: Path, words: Sequence[str], description: str) -> None:
    """Encodes the images of `data` with the first stage of a run, into the folder `out`.

    Raises:
        InputError: what cannot be read or written, or a folder of other latents.
    """
    options = cli.override(Options(), words, "cache_latents.py RUN DATA OUT", description, False)
    found = runs.find_first_stage(run)
    own = found.experiment.data
    size = options.image_size or own.image_size
    settings = Data(
        path=data,
        image_size=size,
        batch_size=options.batch_size,
        split=options.split,
        caption=options.caption,
        label=options.label,
        upscale=options.upscale,
        background=own.background,
        threads=options.threads,
    )
    _check(options, size, found.model.factor)
    source, info = pipeline.open_source(settings)
    if isinstance(source, latents.Source):
        raise InputError(f"DATA '{data}' holds latents: expected images to encode")
    cli.check_folder(out, "OUT")
    model = found.model
    params = runs.with_weights(found).params
    shape = jax.eval_shape(model.posterior, params, jnp.zeros((1, size, size, 3))).mean.shape[1:]
    keys = [key for key, field in KEYS.items() if field not in source.absent]
    described = latents.Described(
        source=f"{data} {options.split}",
        first_stage=digest(params, model),
        image_size=size,
        shape=shape,
        flips=options.flips,
        drawn=_is_drawn(model, params, size),
        dtype=options.dtype,
        shards=min(options.shards, len(source)),
        class_names=info.class_names,
        has_labels="label" in keys,
        has_captions="tokens" in keys,
    )
    _write_index(out, described)
    host = jax.process_index() if options.host is None else options.host
    hosts = options.hosts or jax.process_count()
    encode = _encoder(model, params, described, options.batch_size)
    mine = range(host, described.shards, hosts)
    left = [n for n in mine if not latents.shard(out, n, described.shards).exists()]
    if len(left) < len(mine):
        print(f"{out}: {len(mine) - len(left)} of {len(mine)} shards are there already")
    total = 0
    with tqdm(total=len(left), desc=str(out), unit="shard", disable=None) as bar:
        for number in left:
            count = described.shards
            indices = range(number * len(source) // count, (number + 1) * len(source) // count)
            examples = pipeline.in_order(settings, source, indices, tuple(keys))
            total += _write_shard(latents.shard(out, number, count), encode(examples))
            bar.update()
    print(
        f"{out}: {total} images in {len(left)} shards, latents of {' x '.join(map(str, shape))}; "
        f"train on them with --data.path {out} --first-stage.run {run}"
    )


KEYS = {"label": "label", "tokens": "text"}  # entry of a batch -> field of a record


def _check(options: Options, size: int | None, factor: int) -> None:
    if size is None:
        raise InputError("--image-size is not set, nor is that of the run: give it in pixels")
    if size % factor:
        raise InputError(
            f"--image-size is {size}: expected a multiple of {factor}, the first stage's factor"
        )
    for name in ("batch_size", "shards", "threads"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} is {getattr(options, name)}: expected at least 1")
    if (options.host is None) != (options.hosts is None):
        raise InputError("--host and --hosts go together: expected both or neither")
    if options.hosts and not 0 <= options.host < options.hosts:
        raise InputError(f"--host is {options.host}: expected 0 to {options.hosts - 1}")


def digest(params: Params, first_stage: FirstStage) -> str:
    """What tells the weights of a first stage, but for the scale of its latents, from others."""
    found = hashlib.sha256()
    parts = {name: params[name] for name in sorted(first_stage.parts) if name != "decoder"}
    for path, x in jax.tree_util.tree_leaves_with_path(parts):
        found.update(jax.tree_util.keystr(path).encode())
        found.update(np.asarray(x, np.float32).tobytes())
    return found.hexdigest()[:16]


def _is_drawn(model: FirstStage, params: Params, size: int) -> bool:
    """Whether latents have a variance."""
    q = jax.jit(model.posterior)(params, jnp.zeros((1, size, size, 3)))
    return bool(np.all(np.isfinite(q.log_variance)))


def _write_index(out: Path, described: latents.Described) -> None:
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
        return
    text = json.dumps(dataclasses.asdict(described), indent=1)
    partial = out / f".{latents.INDEX}"
    partial.write_text(text)
    partial.replace(out / latents.INDEX)


def _encoder(
    model: FirstStage, params: Params, described: latents.Described, batch_size: int
) -> Callable[[Iterator[dict[str, Any]]], Iterator[bytes]]:
    """A function from examples to records."""

    @jax.jit
    def moments(params, images):  # [B, H, W, 3] -> [B, moment, h, w, c]
        q = model.posterior(params, images)
        return jnp.stack(q if described.drawn else q[:1], axis=1).astype(described.dtype)

    def both(images: np.ndarray) -> np.ndarray:  # -> [B, mirrored, moment, h, w, c]
        views = [images, images[:, :, ::-1]] if described.flips else [images]
        return np.stack([np.asarray(moments(params, view)) for view in views], axis=1)

    def encode(examples: Iterator[dict[str, Any]]) -> Iterator[bytes]:
        for some in _batched(examples, batch_size):
            images = transforms.normalize(np.stack([example["image"] for example in some]))
            spare = np.repeat(images[-1:], batch_size - len(some), axis=0)  # one shape, one program
            for example, numbers in zip(some, both(np.concatenate([images, spare])), strict=False):
                header = {k: example[k] for k in ("name", "label", "text") if k in example}
                yield latents.pack(numbers, header)

    return encode


def _batched(examples: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    for example in examples:
        some.append(example)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _write_shard(file: Path, records: Iterator[bytes]) -> int:
    """Writes a shard under another name until it is whole; how many records it has."""
    from array_record.python.array_record_module import ArrayRecordWriter

    partial = file.with_name(f".{file.name}")
    writer = ArrayRecordWriter(str(partial), "group_size:1")
    count = 0
    for record in records:
        writer.write(record)
        count += 1
    writer.close()
    partial.replace(file)
    return count
