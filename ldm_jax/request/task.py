"""What a request tells a model of boxes, maps, small images, masks, neighbours or pictures."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ldm_jax import build, runs
from ldm_jax.conditioning.clip_image import prepared
from ldm_jax.conditioning.depth import normalised, resized
from ldm_jax.config import (
    CLIPImage,
    Condition,
    Depth,
    Experiment,
    Inpainting,
    Label,
    Layout,
    LowResolution,
    Retrieval,
    SemanticMap,
    Text,
    UnCLIP,
    Unconditional,
)
from ldm_jax.data import derived, neighbours, objects, pipeline, transforms
from ldm_jax.data.folder import is_box
from ldm_jax.errors import InputError
from ldm_jax.request.frames import seeds, turns
from ldm_jax.request.given import image_size, load_image
from ldm_jax.request.wanted import Request
from ldm_jax.types import Batch

FLAGS = {  # field of a request -> the condition that it is for
    "boxes": Layout,
    "segmentation": SemanticMap,
    "low_resolution": LowResolution,
    "depth": Depth,
    "neighbours": Retrieval,
    "image": CLIPImage,
}
# where none is given: of small images, as the model card of Stable Diffusion's upscaler suggests,
# and of embeddings, as diffusers
NOISE_LEVELS = {LowResolution: 20, UnCLIP: 0}


def task_of(experiment: Experiment) -> Condition:
    """What a model is told of a picture, beside its captions or alone."""
    return experiment.beside or experiment.condition


def takes(condition: Condition, size: tuple[int, int]) -> str:
    """What has to be given to a model of this condition, for pictures of `size` (H, W)."""
    height, width = size
    said = {
        Unconditional: "nothing is told to it",
        Label: "--label NUMBER",
        Layout: "--boxes FILE.json, a list of [x, y, width, height, class] in parts of the picture",
        Inpainting: f"--init-image P and --mask P, pictures of {width} x {height} pixels or more",
        Depth: "--depth P, a picture that is brighter where things are nearer",
        CLIPImage: "--image P, a picture to vary",
        UnCLIP: "--image P, a picture to vary; --prompt TEXT may say more",
    }
    if isinstance(condition, Text):
        return "--prompt TEXT"
    if isinstance(condition, SemanticMap):
        return (
            f"--segmentation P.png, {width} x {height} pixels whose values are classes from 0 to "
            f"{condition.num_classes - 1}"
        )
    if isinstance(condition, LowResolution):
        small = f"{width // condition.factor} x {height // condition.factor}"
        return f"--low-resolution P, a picture of {small} pixels"
    if isinstance(condition, Retrieval):
        dim = condition.dim
        return (
            f"--neighbours FILE.npy, embeddings [k, {dim}]; or a collection of them [N, {dim}] and "
            f"--query FILE.npy [n, {dim}], the nearest to which are told"
        )
    return said[type(condition)]


def check_task(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for what the model is not told, or where what it is told is missing."""
    condition = task_of(trained.experiment)
    wanted = takes(condition, image_size(trained, request.size))
    for field, kind in FLAGS.items():
        given = getattr(request, field)
        flag = f"--{field.replace('_', '-')}"
        if given and not isinstance(condition, kind):
            raise InputError(f"{flag} '{given}' is not what this model takes: expected {wanted}")
        if given and request.from_data:
            raise InputError(f"{flag} and --from-data both say what it is: leave one of them out")
        if not given and isinstance(condition, kind) and not request.from_data:
            other = "" if kind in (Retrieval, Depth) else "; or --from-data N"
            raise InputError(f"the model is told nothing: expected {wanted}{other}")
    if request.query and not request.neighbours:
        raise InputError(
            f"--query '{request.query}' is looked for in nothing: expected --neighbours, too, a "
            "collection of embeddings"
            if isinstance(condition, Retrieval)
            else f"--query '{request.query}' is not what this model takes: expected {wanted}"
        )
    whole = request.from_data or (request.init_image and request.mask)
    if isinstance(condition, Inpainting) and not whole:
        raise InputError(f"the model lacks an image or a mask: expected {wanted}; or --from-data N")
    if isinstance(condition, Inpainting):
        _check_inpainting(request)
    if request.from_data and isinstance(condition, Unconditional):
        raise InputError(f"--from-data is {request.from_data}: leave it out, since {wanted}")
    if request.from_data and request.size:
        raise InputError(
            "--size and --from-data cannot both be: examples have the size of training"
        )
    given_inputs(trained, request)


def _check_inpainting(request: Request) -> None:
    """Raises InputError for what a model that was trained to inpaint has no use for."""
    if request.from_data and request.init_image:
        raise InputError("--init-image and --from-data both say what it is: leave one of them out")
    partly = request.strength not in (None, 1.0)
    options = {"--strength": partly, "--resample": request.resample, "--invert": request.invert}
    for flag in (flag for flag, given in options.items() if given):
        raise InputError(
            f"{flag} given to a model that was trained to inpaint: leave it out, since it starts "
            "from noise and is told of the image"
        )


def check_size(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for a size that the networks cannot have, or patches that make no sense."""
    factor = trained.model.first_stage.factor
    whole = factor * 2 ** (len(trained.experiment.model.channel_mults) - 1)
    size = request.size
    if size and (len(size) != 2 or min(size) < 1 or any(side % whole for side in size)):
        given = " ".join(map(str, size))
        raise InputError(
            f"--size is {given}: expected height and width, multiples of {whole}, the factor by "
            "which first stage and UNet downsample"
        )
    if request.patch is None:
        return
    each = whole // factor
    if request.patch < 2 or request.patch % each:
        raise InputError(
            f"--patch is {request.patch}: expected a multiple of {each} latents, at least 2"
        )
    if isinstance(trained.experiment.condition, Layout):
        raise InputError(
            f"--patch is {request.patch}: leave it out, since boxes are told of a whole picture"
        )


def given_inputs(trained: runs.Trained, request: Request) -> Batch | None:
    """What the conditioner reads, each [n, ...], to be taken in turn; None: no file says it.

    Raises:
        InputError: files that do not fit the model.
    """
    condition = task_of(trained.experiment)
    if request.from_data:
        return from_data(trained, request.from_data)
    size = image_size(trained, request.size)
    readers: dict[type, Callable[[], Batch]] = {
        Layout: lambda: {"boxes": load_boxes(request.boxes, trained)},
        SemanticMap: lambda: {"segmentation": load_map(request.segmentation, condition, size)},
        LowResolution: lambda: {
            "low_resolution": load_small(request.low_resolution, trained, size)
        },
        Depth: lambda: {"depth": load_depth(request.depth, trained, size)},
        Inpainting: lambda: load_masked(trained, request),
        Retrieval: lambda: {"neighbours": load_neighbours(request, condition)},
        CLIPImage: lambda: {"picture": load_picture(request.image, trained)},
        UnCLIP: lambda: {"picture": load_picture(request.image, trained)},
    }
    read = readers.get(type(condition))
    return read and read()


def load_boxes(path: str, trained: runs.Trained) -> np.ndarray:
    """Layouts [n, max_objects, 5] from a .json of one list of boxes, or of several.

    Raises:
        InputError: no such file, or not such a list.
    """
    condition = trained.experiment.condition
    names = runs.object_names(trained.run)
    try:
        read = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise InputError(f"--boxes '{path}' does not exist: expected a .json of boxes") from error
    except (OSError, ValueError) as error:
        raise InputError(f"--boxes '{path}' is not JSON: {error}") from error
    layouts = read if isinstance(read, list) and read and _is_layout(read[0]) else [read]
    if not all(map(_is_layout, layouts)) or not read:
        raise InputError(
            f"--boxes '{path}' is not a list of [x, y, width, height, class], the first four in "
            "parts of the picture, from 0 to 1; or a list of such lists"
        )
    longest = max(map(len, layouts))
    if longest > condition.max_objects:
        raise InputError(
            f"--boxes '{path}' has {longest} boxes: expected at most {condition.max_objects}, "
            "which the model can be told"
        )

    def number(kind: int | str) -> int:
        kind = names.index(kind) if kind in names else kind
        if not isinstance(kind, int) or not 0 <= kind < condition.num_classes:
            known = f", or one of {', '.join(names)}" if names else ""
            raise InputError(
                f"--boxes '{path}' has class {kind!r}: expected 0 to "
                f"{condition.num_classes - 1}{known}"
            )
        return kind

    rows = [[[*box[:4], number(box[4])] for box in layout] for layout in layouts]
    rows = [np.array(row, np.float32).reshape(-1, 5) for row in rows]
    return np.stack([objects.padded(row, condition.max_objects) for row in rows])


def _is_layout(value: object) -> bool:
    return isinstance(value, list) and all(map(is_box, value))


def load_map(path: str, condition: SemanticMap, size: tuple[int, int]) -> np.ndarray:
    """Classes of pixels, [1, H, W] int32.

    Raises:
        InputError: no such file, another size, or other classes than the model's.
    """
    _check_file(path, "--segmentation")
    try:
        classes = transforms.decode_map(path)
    except Exception as error:
        raise InputError(f"--segmentation '{path}' is not a picture of classes: {error}") from error
    if classes.shape != size:
        raise InputError(
            f"--segmentation '{path}' is {classes.shape[1]} x {classes.shape[0]} pixels: expected "
            f"{takes(condition, size)}; or another --size"
        )
    return derived.checked_map(classes, condition.num_classes, f"--segmentation '{path}'")[None]


def load_small(path: str, trained: runs.Trained, size: tuple[int, int]) -> np.ndarray:
    """An image of low resolution, [1, h, w, 3] in [-1, 1].

    Raises:
        InputError: no such file, not a picture, or of another size.
    """
    condition, data = task_of(trained.experiment), trained.experiment.data
    _check_file(path, "--low-resolution")
    try:
        image = np.asarray(transforms.decode(path, data.background))
    except Exception as error:
        raise InputError(f"--low-resolution '{path}' is not a picture: {error}") from error
    if image.shape[:2] != (size[0] // condition.factor, size[1] // condition.factor):
        larger = " ".join(str(side * condition.factor) for side in image.shape[:2])
        raise InputError(
            f"--low-resolution '{path}' is {image.shape[1]} x {image.shape[0]} pixels: expected "
            f"{takes(condition, size)}; or --size {larger}"
        )
    return transforms.normalize(image)[None]


def how_noisy(level: int | None, trained: runs.Trained) -> int | None:
    """The noise of small images, 20 where not given, or of embeddings of pictures, 0 where not
    given; None where the model is not told.

    Raises:
        InputError: a level beyond the model's, or one for a model that is not told.
    """
    condition = task_of(trained.experiment)
    most = getattr(condition, "max_noise", None)
    if most is None and level is not None:
        raise InputError(
            f"--noise-level is {level}: leave it out, since the model is not told how noisy an "
            "image is"
        )
    if level is not None and not 0 <= level < most:
        raise InputError(f"--noise-level is {level}: expected 0 to {most - 1}, as in training")
    if most is None or level is not None:
        return level
    return min(NOISE_LEVELS[type(condition)], most - 1)


def noisy(told: Batch, request: Request, condition: Condition) -> Batch:
    """The same with noise on small images [num, h, w, 3] or embeddings [num, dim], where the model
    is told its level; it belongs to the seed of a picture."""
    if request.noise_level is None:
        return told
    if isinstance(condition, UnCLIP):
        name, shape = "picture_noise", (condition.dim,)
    else:
        name, shape = "low_resolution_noise", told["low_resolution"].shape[1:]
    noise = [np.random.default_rng([1, seed]).standard_normal(shape) for seed in seeds(request)]
    level = np.full(request.num, request.noise_level, np.int32)
    return told | {name: np.float32(noise), "noise_level": level}


def load_depth(path: str, trained: runs.Trained, size: tuple[int, int]) -> np.ndarray:
    """How near each place is, from -1, the farthest, to 1, [1, h, w, 1], of the latents' size.

    Its middle, of the shape of the picture, is resized as the original does, and stretched.

    Raises:
        InputError: no such file, not a picture or an array of numbers, or one without depth.
    """
    _check_file(path, "--depth")
    try:
        read = transforms.decode_depth(path)
    except Exception as error:
        raise InputError(f"--depth '{path}' is not a picture of depth: {error}") from error
    if np.min(read) == np.max(read):
        raise InputError(
            f"--depth '{path}' is {np.min(read):g} everywhere: expected [H, W], finite and not all "
            "the same"
        )
    (H, W), (height, width) = read.shape, size
    h, w = min(H, round(W * height / width)), min(W, round(H * width / height))
    top, left, f = (H - h) // 2, (W - w) // 2, trained.model.first_stage.factor
    small = resized(read[top : top + h, left : left + w], (height // f, width // f))
    return normalised(small)[None, ..., None]


def load_masked(trained: runs.Trained, request: Request) -> Batch:
    """An image [1, H, W, 3] in [-1, 1], and what is to be made anew of it [1, H, W, 1]."""
    size = image_size(trained, request.size)
    image = load_image(request.init_image, "--init-image", trained, size)
    mask = load_image(request.mask, "--mask", trained, size)
    hidden = np.mean(mask, axis=-1, keepdims=True) >= 128  # 8-bit grey, from the middle on
    return {"image": transforms.normalize(image)[None], "mask": hidden[None].astype(np.float32)}


def load_neighbours(request: Request, condition: Retrieval) -> np.ndarray:
    """Embeddings [n, k, dim] float32: of a file, or of a collection those nearest each query.

    Raises:
        InputError: what are no embeddings, or fewer than there are to find.
    """
    rows = neighbours.load(request.neighbours, condition.dim, "--neighbours")
    if not request.query:
        return rows[None]
    queries, k = neighbours.load(request.query, condition.dim, "--query"), condition.neighbours
    if len(rows) < k:
        raise InputError(
            f"--neighbours '{request.neighbours}' has {len(rows)} rows: expected at least {k}, so "
            "many of which the model is told for each query"
        )
    return rows[neighbours.nearest(rows, queries, k)]


def load_picture(path: str, trained: runs.Trained) -> np.ndarray:
    """A picture as CLIP's tower sees it, [1, size, size, 3].

    Raises:
        InputError: no such file, or not a picture.
    """
    _check_file(path, "--image")
    try:
        image = transforms.decode(path, trained.experiment.data.background)
    except Exception as error:
        raise InputError(f"--image '{path}' is not a picture: {error}") from error
    return prepared(image, task_of(trained.experiment).size)[None]


def _check_file(path: str, flag: str) -> None:
    if not Path(path).is_file():
        raise InputError(f"{flag} '{path}' does not exist: expected a picture, such as a PNG")


def from_data(trained: runs.Trained, count: int) -> Batch:
    """The conditions of examples that training did not see, each [count, ...].

    Raises:
        InputError: fewer examples, or none that are held out.
    """
    condition, keys = task_of(trained.experiment), trained.model.conditioner.keys
    if trained.experiment.beside:
        keys = tuple(key for key in keys if key != "tokens")
    batch = held_out(trained.experiment.data, condition, keys, count)
    return {key: batch[key] for key in keys}


def held_out(data, condition: Condition, keys: tuple[str, ...], count: int) -> Batch:
    """Images of the test split and their conditions, each [count, ...]."""
    if count < 1:
        raise InputError(f"--from-data is {count}: expected at least 1")
    if isinstance(condition, Label | Text | Retrieval | Depth):
        raise InputError(
            f"--from-data is {count}: leave it out, and give {takes(condition, (0, 0))}"
        )
    data = replace(data, split="test")
    source, info = pipeline.open_source(data)
    if count > info.num_examples:
        raise InputError(
            f"--from-data is {count}: expected at most {info.num_examples}, the examples of "
            f"{source.name}"
        )
    pipeline.check_batch(replace(data, batch_size=1), source, keys)
    derive = build.build_derive(condition)
    batches = list(pipeline.once(data, source, count, keys, derive))
    return {name: np.concatenate([b[name] for b in batches]) for name in ("image", *keys)}


def tell(trained: runs.Trained, request: Request) -> Batch | None:
    """What the conditioner reads, each [num, ...], examples taken in turn."""
    given = given_inputs(trained, request)
    if given is None:
        return None
    turn = turns(request)
    told = {name: np.asarray(x)[turn % len(x)] for name, x in given.items()}
    told = noisy(told, request, task_of(trained.experiment))
    n, hidden = len(request.compose), trained.model.conditioner.hideable
    if n:  # each of the prompts that are composed stands beside the whole
        told |= {name: np.stack([x] * n, axis=1) for name, x in told.items() if name in hidden}
    return told


def is_pasted(trained: runs.Trained) -> bool:
    """Whether what a mask does not hide is to be taken from the image."""
    return isinstance(task_of(trained.experiment), Inpainting)


def paste(images: np.ndarray, told: Batch) -> np.ndarray:
    """Float images with what the mask does not hide in its place, [B, H, W, 3]."""
    return np.where(told["mask"] > 0.5, images, told["image"])
