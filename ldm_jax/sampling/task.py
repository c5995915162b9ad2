"""What a request tells a model of an image, beside its captions or alone."""

from collections.abc import Callable

import numpy as np

from ldm_jax import runs
from ldm_jax.config import (
    CLIPImage,
    Depth,
    Inpainting,
    Layout,
    LowResolution,
    Retrieval,
    SemanticMap,
    UnCLIP,
    Unconditional,
)
from ldm_jax.errors import InputError
from ldm_jax.sampling.files import (
    load_boxes,
    load_depth,
    load_map,
    load_masked,
    load_neighbours,
    load_picture,
    load_small,
)
from ldm_jax.sampling.frames import turns
from ldm_jax.sampling.given import image_size
from ldm_jax.sampling.held_out import from_data
from ldm_jax.sampling.noise_level import noisy
from ldm_jax.sampling.takes import task_of
from ldm_jax.sampling.wanted import Request
from ldm_jax.types import Batch

FLAGS = {  # field of a request -> the condition that it is for
    "boxes": Layout,
    "segmentation": SemanticMap,
    "low_resolution": LowResolution,
    "depth": Depth,
    "neighbours": Retrieval,
    "image": CLIPImage,
}


def check_task(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for what the model is not told, or where what it is told is missing."""
    condition = task_of(trained.experiment)
    wanted = condition.takes(image_size(trained, request.size))
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
    whole = factor * trained.model.backbone.multiple
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
            f"--patch is {request.patch}: leave it out, since boxes are told of a whole image"
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


def tell(trained: runs.Trained, request: Request) -> Batch | None:
    """What the conditioner reads, each [num, ...], examples taken in turn."""
    given = given_inputs(trained, request)
    if given is None:
        return None
    turn = turns(request)
    told = {name: np.asarray(x)[turn % len(x)] for name, x in given.items()}
    told = noisy(told, request, task_of(trained.experiment))
    n, hidden = len(request.compose), trained.model.conditioner.droppable
    if n:  # each of the prompts that are composed stands beside the whole
        told |= {name: np.stack([x] * n, axis=1) for name, x in told.items() if name in hidden}
    return told


def is_pasted(trained: runs.Trained) -> bool:
    """Whether what a mask does not hide is to be taken from the image."""
    return isinstance(task_of(trained.experiment), Inpainting)


def paste(images: np.ndarray, told: Batch) -> np.ndarray:
    """Float images with what the mask does not hide in its place, [B, H, W, 3]."""
    return np.where(told["mask"] > 0.5, images, told["image"])
