"""What the fuzz reads: for each reader a sound input, its malformed ones, and who reads it."""

import dataclasses
import io
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import sample
from benchmarks import malformed
from benchmarks.fuzz_sound import CAPTIONS, COUNT, LENGTH, SIZE, Sound
from ldm_jax import checkpoint, cli, runs, settings
from ldm_jax import config as c
from ldm_jax.conditioning.layout import load_layouts
from ldm_jax.conditioning.prompts import read_prompts
from ldm_jax.convert import convert
from ldm_jax.data import given, latents, maps, neighbours, pipeline, readable
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.evaluate import clip_score, sets
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.statistics import Moments
from ldm_jax.sampling import exported, png_metadata
from ldm_jax.sampling.latents import load_latents
from ldm_jax.sampling.request import filled
from ldm_jax.sampling.view import view
from ldm_jax.training.fitted import inherit
from ldm_jax.training.log import open_log
from ldm_jax.weights.formats.files import read_weights, write_weights
from tests.support import torch_files

FORMATS = ("png", "jpg", "webp", "gif", "bmp", "tiff")
MODES = ("RGB", "RGBA", "P", "L", "1", "I;16", "CMYK")
METADATA = ("", "{", "[]", "null", '{"unet.r": "x"}', '{"unet.r": -1, "unet.rank_pattern": 3}')
Read = Callable[[], Any]


class Reader(NamedTuple):
    """One kind of input.

    what:  is malformed, for the table
    share: of the inputs, in parts of all shares
    make:  (generator, sound inputs, folder) -> what reads the input that it wrote there
    """

    what: str
    share: int
    make: Callable[[Random, Sound, Path], Read]


def trained_on(folder: Path, keys: tuple[str, ...] = (), **changes: Any) -> Read:
    """Reads a folder as training does."""
    data = c.Data(path=str(folder), image_size=SIZE, batch_size=2, max_bad_images=2, **changes)

    def read():
        source, info = pipeline.open_source(data)
        readable.check_readable(data, source)
        there = tuple(key for key in keys if pipeline.FIELDS[key] not in source.absent)
        fields = [key for key in there if key != "tokens"]
        texts = pipeline.captions(source, 50) if "tokens" in there else []
        assert all(isinstance(text, str) for text in texts), "a caption is no text"
        return [info, texts, *pipeline.once(data, source, min(len(source), 50), tuple(fields))]

    return read


def evaluated(path: Path) -> Read:
    """Reads a set as evaluate.py does."""

    def read():
        found = sets.open_set(str(path))
        if isinstance(found, sets.Images):
            return list(found.batches(min(found.count, 20), 8))
        one = Moments(np.zeros(8), np.eye(8))
        for moments in found.moments.values():
            score = frechet_distance(moments, one)
            assert np.isfinite(score) and score > -1e-3, f"the score is {score}"
        return found

    return read


def encoded(rng: Random, pixels: np.ndarray) -> tuple[str, bytes]:
    """An image in one of the formats, and how its name ends."""
    kind, mode = rng.choice(FORMATS), rng.choice(MODES)
    image = Image.fromarray(pixels)
    image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    file = io.BytesIO()
    try:
        image.save(file, {"jpg": "jpeg"}.get(kind, kind))
    except (OSError, ValueError):  # which cannot be of this mode
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, {"jpg": "jpeg"}.get(kind, kind))
    return kind, file.getvalue()


def image(rng: Random, sound: Sound, folder: Path) -> Read:
    shutil.copytree(sound.images, folder, dirs_exist_ok=True)
    kind, data = encoded(rng, sound.pixels[0])
    data = malformed.of_png(rng) if rng.random() < 0.2 else malformed.of_bytes(rng, data)
    file = folder / f"0x.{kind}"
    file.write_bytes(data)
    readers = (
        trained_on(folder, upscale=rng.random() < 0.5, crop=rng.choice(("center", "random"))),
        trained_on(folder, upscale=True, buckets=8),
        evaluated(folder),
        lambda: given.load_image(str(file), "--init-image", sound.experiment.data),
    )
    return rng.choice(readers)


def caption(rng: Random, sound: Sound, folder: Path) -> Read:
    shutil.copytree(sound.images, folder, dirs_exist_ok=True)
    for i, text in enumerate(CAPTIONS):
        (folder / f"{i:02}.txt").write_text(text, "utf-8")
    file = folder / f"{rng.randrange(COUNT):02}.txt"
    file.write_bytes(malformed.of_bytes(rng, file.read_bytes() * rng.choice((1, 1, 1000))))
    reader = lambda: clip_score.captions_of(folder, COUNT)  # noqa: E731
    return rng.choice((trained_on(folder, ("tokens",)), reader))


def metadata(rng: Random, sound: Sound, folder: Path) -> Read:
    shutil.copytree(sound.images, folder, dirs_exist_ok=True)
    Image.fromarray(sound.pixels[0, :, :, 0] % 4).save(folder / "map.png")
    np.save(folder / "depth.npy", np.zeros((SIZE, SIZE), np.float32))
    rows = [
        {
            "file_name": f"{i:02}.png", "text": rng.choice((CAPTIONS[i], CAPTIONS[:2])), "label": i,
            "boxes": [[0.1, 0.1, 0.5, 0.5, "block"]], "segmentation": "map.png",
            "depth": "depth.npy",
        }
        for i in range(COUNT)
    ]  # fmt: skip
    lines = [json.dumps(row).encode() for row in rows]
    at = rng.randrange(COUNT)
    lines[at] = malformed.of_json(rng, lines[at].decode())
    data = b"\n".join(lines)
    if rng.random() < 0.1:
        data = malformed.of_bytes(rng, data)
    (folder / "metadata.jsonl").write_bytes(data)
    if rng.random() < 0.1:
        malformed.of_folder(rng, folder)
    keys = ("tokens", "label", "boxes", "segmentation", "depth")
    if rng.random() < 0.2:
        return lambda: clip_score.captions_of(folder, COUNT)
    return trained_on(folder, keys)


def folders(rng: Random, sound: Sound, folder: Path) -> Read:
    inside = folder / "data"
    if rng.random() < 0.5:
        for name in ("cat", "dog"):
            shutil.copytree(sound.images, inside / name)
    else:
        shutil.copytree(sound.images, inside)
    malformed.of_folder(
        rng, rng.choice((inside, inside, *(p for p in inside.iterdir() if p.is_dir())))
    )
    readers = (trained_on(inside, ("label", "tokens")), evaluated(inside))
    return rng.choice((*readers, lambda: clip_score.captions_of(inside, COUNT)))


def checkpoints(rng: Random, sound: Sound, folder: Path) -> Read:
    run = folder / "run"
    shutil.copytree(sound.run, run)
    if rng.random() < 0.5:
        shutil.rmtree(run / "digests")
    for _ in range(rng.choice((1, 1, 3))):
        malformed.of_tree(
            rng, rng.choice((run / "checkpoints", run / "frozen", run / "checkpoints"))
        )
    if rng.random() < 0.1:
        names = ("\u0661", "9" * 30, "1.5", "0 ", "7.orbax-checkpoint-tmp", "9", "-1", "best")
        (run / "checkpoints" / "0").rename(run / "checkpoints" / rng.choice(names))
    params = sound.target.params
    what = rng.random()
    if what < 0.05:
        return lambda: runs.with_weights(runs.describe_any(run))
    if what < 0.5:
        return lambda: checkpoint.restore_weights(run, params)
    if what < 0.6:
        return lambda: checkpoint.best_step(run, "loss")
    return lambda: checkpoint.restore(run, sound.target, sound.batches)


def weights(rng: Random, sound: Sound, folder: Path) -> Read:
    state = dict(sound.state_dict)
    if rng.random() < 0.3:
        for name in rng.sample(sorted(state), 2):
            state[name] = malformed.of_array(rng, state[name])
        state = {name: x for name, x in state.items() if x.dtype.name in torch_files.STORAGES}
    file = folder / f"model.{rng.choice(('safetensors', 'ckpt', 'pt'))}"
    if file.suffix == ".pt":
        torch_files.write_legacy(file, {"state_dict": state})
    else:
        write_weights(file, state)
    if rng.random() < 0.8:
        data = file.read_bytes()
        head = data[:4096] if rng.random() < 0.5 else data
        file.write_bytes(malformed.of_bytes(rng, head) + data[len(head) :])

    def read():
        found = read_weights(file)
        return {name: np.sum(np.nan_to_num(found[name].astype(np.float32))) for name in found}

    readers = (read, lambda: convert(file, folder / "run"))
    stage = sound.first_stage / "config.py"
    return rng.choice((*readers, lambda: convert(file, folder / "run", stage)))


def diffusers(rng: Random, sound: Sound, folder: Path) -> Read:
    inside = folder / "vae"
    shutil.copytree(sound.diffusers, inside)
    if rng.random() < 0.3:
        name = "diffusion_pytorch_model.safetensors"
        shards = {"weight_map": dict.fromkeys(sound.state_dict, rng.choice((name, "../../x", "")))}
        (inside / f"{name}.index.json").write_bytes(malformed.of_json(rng, json.dumps(shards)))
        (inside / name).rename(inside / "other.safetensors")
    malformed.of_tree(rng, inside, ".json")
    return lambda: convert(inside, folder / "run")


def config(rng: Random, sound: Sound, folder: Path) -> Read:
    run = folder / "run"
    (run / "checkpoints" / "0").mkdir(parents=True)
    for name in ("config.py", "tokenizer.json", "classes.txt", "objects.txt"):
        shutil.copy(sound.run / name, run)
    file = run / "config.py"
    text = file.read_text("utf-8")
    for _ in range(rng.choice((1, 1, 2))):
        text = malformed.of_text(rng, text)
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        data = malformed.of_bytes(rng, data)
    if rng.random() < 0.03:
        depth = malformed.DEEP
        data = rng.choice((b"config = " + b"(" * depth, b"config = " + b"-" * depth + b"1"))
    file.write_bytes(data)
    return lambda: view(runs.describe_any(run))


def names(rng: Random, sound: Sound, folder: Path) -> Read:
    """Files of a run but for its config and its weights."""
    run = folder / "run"
    (run / "checkpoints" / "0" / "metrics").mkdir(parents=True)
    (run / "checkpoints" / "0" / "metrics" / "metrics").write_text('{"loss": 0.5}', "utf-8")
    for name in ("config.py", "tokenizer.json", "classes.txt", "objects.txt"):
        shutil.copy(sound.run / name, run)
    rows = "step,loss,lr\n" + "".join(f"{i},{0.1 * i},0.001\n" for i in range(1, 5))
    (run / "metrics.csv").write_text(rows, "utf-8")
    changed = rng.choice(("classes.txt", "objects.txt", "tokenizer.json", "metrics.csv", "metrics"))
    malformed.of_tree(rng, run, changed)

    def read():
        view(runs.describe_any(run))
        checkpoint.best_step(run, "loss")
        with open_log(run, "diffusion", 2, 4) as log:
            log.scalars(3, {"loss": 0.5})

    return read


def statistics(rng: Random, sound: Sound, folder: Path) -> Read:
    normal = np.random.default_rng(rng.randrange(9)).normal(size=(40, 8))
    arrays = {"mu": normal.mean(0), "sigma": np.cov(normal.T), "count": np.array(40)}
    arrays |= {"extractor": np.array("inception")} if rng.random() < 0.5 else {}
    (folder / "stats.npz").write_bytes(malformed.of_npz(rng, arrays))
    return evaluated(folder / "stats.npz")


def arrays(rng: Random, sound: Sound, folder: Path) -> Read:
    if rng.random() < 0.5:
        file = folder / rng.choice(("images.npz", "shard-00000.npz"))
        file.write_bytes(malformed.of_npz(rng, {"arr_0": sound.pixels}))
        return evaluated(folder if file.name.startswith("shard") else file)
    file, noise = folder / "a.npy", np.zeros((COUNT, 4, 4, 2), np.float32)
    readers = (
        (noise, lambda: load_latents(str(file), noise.shape)),
        (
            noise[0, :, :, 0],
            lambda: given.decoded(str(file), "--depth", "a map", maps.decode_depth),
        ),
        (noise[:, 0, :, 0], lambda: neighbours.load(str(file), 4, "--neighbours")),
    )
    array, read = rng.choice(readers)
    file.write_bytes(malformed.of_npy(rng, array))
    return read


def png_text(rng: Random, sound: Sound, folder: Path) -> Read:
    request = sample.parse(["--prompt", "a red block", "--label", "1", "--num", "2"], sound.view)
    request = request.filled(sound.view).alone(1)
    record = {"run": str(sound.run), "checkpoint": 0, "request": request.as_dict()}
    data = malformed.of_json(rng, json.dumps(record))
    packed = rng.choice((b"\0" + data, b"\0\1\0\0\0" + zlib.compress(data)))
    chunk = malformed.chunk(b"tEXt" if packed[1:2] != b"\1" else b"iTXt", b"ldm_jax" + packed)
    image = malformed.png(SIZE, SIZE, 8, 2, chunk)
    image = malformed.of_bytes(rng, image) if rng.random() < 0.1 else image
    (folder / "a.png").write_bytes(malformed.of_png(rng) if rng.random() < 0.05 else image)

    def read():
        found = png_metadata.read(str(folder / "a.png"))
        asked = png_metadata.repeated(found, sample.parse([], sound.view), ())
        return _answered(filled(sound.described, asked)[1], sound)

    return read


def _answered(request: Any, sound: Sound) -> list:
    """All that a request says, as far as it is for a few images."""
    found = [json.dumps(request.as_dict()), request.alone(0)]
    if request.images.num <= 64:
        for section in request:
            found += [section.inputs(request, sound.view), section.each(request, sound.view)]
            found += [section.controls(request, sound.view), section.describe(request, sound.view)]
    return found


def request(rng: Random, sound: Sound, folder: Path) -> Read:
    """Words of sample.py."""
    (folder / "a.png").write_bytes(malformed.of_bytes(rng, (sound.images / "00.png").read_bytes()))
    (folder / "a.npy").write_bytes(malformed.of_npy(rng, np.zeros((1, 16, 16, 2), np.float32)))
    (folder / "a.txt").write_bytes(malformed.of_bytes(rng, "\n".join(CAPTIONS).encode()))
    good = (
        "1",
        "2",
        "0.5",
        "a red block",
        "red",
        "True",
        "ddim",
        "trailing",
        str(sound.images / "00.png"),
    )
    files = [str(folder / name) for name in ("a.png", "a.npy", "a.txt")]
    owners = list(sample.parse([], sound.view).owners())
    words = []
    for name in rng.sample(owners, rng.choice((1, 2, 2, 3, 5))):
        values = (good, good, files, tuple(map(str, malformed.NUMBERS)), malformed.TEXTS)
        count = rng.choice((0, 1, 1, 1, 1, 2, 3))
        values = [rng.choice(rng.choice(values)).replace("\0", "") for _ in range(count)]
        words += [f"--{name.replace('_', '-')}", *values]
    if rng.random() < 0.05:
        words = [rng.choice(("--", "-", "--=", "--seed=", "--prompt", "--nonsense", "", "\ud800"))]
    return lambda: _answered(filled(sound.described, sample.parse(words, sound.view))[1], sound)


def options(rng: Random, sound: Sound, folder: Path) -> Read:
    """Words of train.py."""
    fields = [
        f"{where}{field.name}"
        for where, part in settings.parts(sound.experiment)
        for field in dataclasses.fields(part)
        if not dataclasses.is_dataclass(getattr(part, field.name))
    ]
    values = (*malformed.NUMBERS, *malformed.TEXTS, "True", "None", "1 2", "cosine", "v", "1", "8")
    words = []
    for name in rng.sample(fields, rng.choice((1, 1, 2, 3))):
        value = str(rng.choice(values)).replace("\0", "")
        words += [f"--{name.replace('_', '-')}", *value.split()]

    def read():
        found = cli.override(sound.experiment, words, "train.py")
        first_stage = inherit(found.first_stage, found.data)
        found = dataclasses.replace(found, first_stage=first_stage)
        settings.check_ranges(found)
        found.check()
        found.build({"tokens": sound.tokenizer})

    return read


def tokenizers(rng: Random, sound: Sound, folder: Path) -> Read:
    what = rng.choice(("tokenizer.json", "vocab.txt", "merges.txt", "clip.json"))
    file = folder / what
    if what == "tokenizer.json":
        file.write_bytes(malformed.of_json(rng, (sound.run / "tokenizer.json").read_text("utf-8")))
    elif what == "clip.json":
        text = clip.clip_tokenizer([("r", "e")]).to_str()
        file.write_bytes(malformed.of_json(rng, text))
    elif what == "vocab.txt":
        file.write_bytes(malformed.of_bytes(rng, "\n".join(sound.tokenizer.get_vocab()).encode()))
    else:
        file.write_bytes(malformed.of_bytes(rng, b"#version: 0.2\nr e\nre d</w>\na b\n" * 3))

    def read():
        clips = what in ("merges.txt", "clip.json")
        found = clip.load(file, LENGTH, "openai") if clips else tokens.load(file, LENGTH)
        return [tokens.encode(found, text) for text in (*CAPTIONS, "", "\u00e9\U0001f600 \0" * 30)]

    return read


def adapters(rng: Random, sound: Sound, folder: Path) -> Read:
    """A file of an adapter, or a folder as diffusers writes one."""
    arrays, about = map(dict, rng.choice(sound.adapters))
    for _ in range(rng.choice((0, 1, 1, 2))):
        key = rng.choice(sorted(arrays))
        array = arrays.pop(key)
        changed = malformed.of_array(rng, array), array.reshape(-1)
        renamed = key[: rng.randrange(len(key))] or "x"
        arrays |= rng.choice(({}, {renamed: array}, *({key: x} for x in changed)))
        arrays = {k: x for k, x in arrays.items() if x.dtype.name in torch_files.STORAGES}
        if not arrays:
            break
    if about and rng.random() < 0.4:
        about[rng.choice(sorted(about))] = rng.choice(METADATA)
    if rng.random() < 0.3:
        name = rng.choice(("diffusion_pytorch_model", "pytorch_lora_weights", "adapter_model"))
        for config in ("config.json", "adapter_config.json"):
            (folder / config).write_bytes(malformed.of_json(rng, '{"r": 2, "lora_alpha": 2}'))
        file, place = folder / f"{name}.safetensors", folder
    else:
        file = place = folder / f"x.{rng.choice(('safetensors', 'safetensors', 'bin'))}"
    write_weights(file, arrays, metadata=about)
    if rng.random() < 0.2:
        file.write_bytes(malformed.of_bytes(rng, file.read_bytes()))
    return lambda: runs.attach(sound.described, [str(place)]).join({**sound.params})


def cached(rng: Random, sound: Sound, folder: Path) -> Read:
    inside = folder / "latents"
    shutil.copytree(sound.latents, inside)
    malformed.of_tree(rng, inside, rng.choice((".json", ".npz", ".array_record")))
    data = c.Data(path=str(inside), image_size=SIZE, batch_size=2, flip=True)

    def read():
        source, _ = pipeline.open_source(data)
        readable.check_readable(data, source)
        keys = ("label", *(latents.entry(slot) for slot in source.described.answered))
        batches = pipeline.batches(data, source, seed=0, keys=keys)
        return [source.empty(), next(batches), next(batches)]

    return read


def small(rng: Random, sound: Sound, folder: Path) -> Read:
    """Small files that options name, and reports beside images."""
    boxes = json.dumps([[0.1, 0.1, 0.5, 0.5, "block"], [0.2, 0.2, 0.3, 0.3, 1]])
    report = json.dumps(
        {"run": "r", "checkpoint": 1, "config": {"optim": {"ema_decay": 0.9}, "first_stage": {}},
         "request": sample.parse(["--prompt", "a"], sound.view).filled(sound.view).as_dict()}
    )  # fmt: skip
    about = dict.fromkeys(exported.FACTS, "a") | {"checkpoint": 1, "batch_size": 1}
    about |= {"platforms": ["cpu"], "parts": ["a"], "size": [8, 8], "version": exported.VERSION}
    choices = (
        ("a.txt", "\n".join(CAPTIONS), lambda file: read_prompts(str(file))),
        ("a.json", boxes, lambda file: load_layouts(str(file))),
        ("report.json", report, lambda file: evaluated(file.parent)()),
        ("request.json", report, lambda file: clip_score.captions_of(file.parent, 2)),
        ("export.json", json.dumps(about), lambda file: exported.load(file.parent)),
    )
    name, text, read = rng.choice(choices)
    shutil.copytree(sound.images, folder, dirs_exist_ok=True)
    make = malformed.of_json if name.endswith("json") else malformed.of_bytes
    (folder / name).write_bytes(make(rng, text if name.endswith("json") else text.encode()))
    return lambda: read(folder / name)


READERS = {
    "images": Reader("bytes, sizes and chunks of PNG, JPEG, WebP, GIF, BMP, TIFF", 16, image),
    "captions": Reader("bytes and encodings of .txt beside images", 6, caption),
    "metadata": Reader("values, names and bytes of metadata.jsonl", 12, metadata),
    "folders": Reader("pipes, devices, loops, strange names among images", 6, folders),
    "checkpoints": Reader(
        "files of RUN/checkpoints and RUN/frozen, with and without digests", 4, checkpoints
    ),
    "weights": Reader("bytes and arrays of .safetensors and PyTorch files", 10, weights),
    "diffusers": Reader("config.json, index and weights of a diffusers folder", 5, diffusers),
    "configs": Reader("words and bytes of RUN/config.py", 10, config),
    "names": Reader("classes.txt, objects.txt, tokenizer.json, metrics of a run", 4, names),
    "statistics": Reader("arrays and bytes of mu and sigma in an .npz", 8, statistics),
    "arrays": Reader("images in .npz; latents, depth, neighbours in .npy", 8, arrays),
    "PNG text": Reader("the request that a PNG records", 8, png_text),
    "requests": Reader("options of sample.py and the files that they name", 10, request),
    "options": Reader("options of train.py", 4, options),
    "tokenizers": Reader("tokenizer.json, vocab.txt, merges.txt", 5, tokenizers),
    "latents": Reader("index, shards and empty caption of cached latents", 4, cached),
    "adapters": Reader("arrays, metadata and folders of adapters", 6, adapters),
    "small files": Reader("prompts, boxes, reports and indices of exports", 6, small),
}
