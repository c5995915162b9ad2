"""Files that say what a model is told: boxes, maps, small images, depths, masks, embeddings."""

import json
from pathlib import Path

import numpy as np

from ldm_jax import runs
from ldm_jax.conditioning.clip_image import prepared
from ldm_jax.conditioning.depth import normalised, resized
from ldm_jax.conditioning.semantic_map import checked_map
from ldm_jax.config import Retrieval, SemanticMap
from ldm_jax.data import neighbours, objects, transforms
from ldm_jax.data.folder import is_box
from ldm_jax.errors import InputError
from ldm_jax.sampling.given import image_size, load_image
from ldm_jax.sampling.takes import task_of
from ldm_jax.sampling.wanted import Request
from ldm_jax.types import Batch


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
            "parts of the image, from 0 to 1; or a list of such lists"
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
        raise InputError(f"--segmentation '{path}' is not an image of classes: {error}") from error
    if classes.shape != size:
        raise InputError(
            f"--segmentation '{path}' is {classes.shape[1]} x {classes.shape[0]} pixels: expected "
            f"{condition.takes(size)}; or another --size"
        )
    return checked_map(classes, condition.num_classes, f"--segmentation '{path}'")[None]


def load_small(path: str, trained: runs.Trained, size: tuple[int, int]) -> np.ndarray:
    """An image of low resolution, [1, h, w, 3] in [-1, 1].

    Raises:
        InputError: no such file, not an image, or of another size.
    """
    condition, data = task_of(trained.experiment), trained.experiment.data
    _check_file(path, "--low-resolution")
    try:
        image = np.asarray(transforms.decode(path, data.background))
    except Exception as error:
        raise InputError(f"--low-resolution '{path}' is not an image: {error}") from error
    if image.shape[:2] != (size[0] // condition.factor, size[1] // condition.factor):
        larger = " ".join(str(side * condition.factor) for side in image.shape[:2])
        raise InputError(
            f"--low-resolution '{path}' is {image.shape[1]} x {image.shape[0]} pixels: expected "
            f"{condition.takes(size)}; or --size {larger}"
        )
    return transforms.normalize(image)[None]


def load_depth(path: str, trained: runs.Trained, size: tuple[int, int]) -> np.ndarray:
    """How near each place is, from -1, the farthest, to 1, [1, h, w, 1], of the latents' size.

    Its middle, of the shape of the image, is resized as the original does, and stretched.

    Raises:
        InputError: no such file, not an image or an array of numbers, or one without depth.
    """
    _check_file(path, "--depth")
    try:
        read = transforms.decode_depth(path)
    except Exception as error:
        raise InputError(f"--depth '{path}' is not an image of depth: {error}") from error
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
    """An image as CLIP's tower sees it, [1, size, size, 3].

    Raises:
        InputError: no such file, or not an image.
    """
    _check_file(path, "--image")
    try:
        image = transforms.decode(path, trained.experiment.data.background)
    except Exception as error:
        raise InputError(f"--image '{path}' is not an image: {error}") from error
    return prepared(image, task_of(trained.experiment).size)[None]


def _check_file(path: str, flag: str) -> None:
    if not Path(path).is_file():
        raise InputError(f"{flag} '{path}' does not exist: expected an image, such as a PNG")
