"""What a model is told of an image, and by which words of sample.py."""

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


def task_of(experiment: Experiment) -> Condition:
    """What a model is told of an image, beside its captions or alone."""
    return experiment.beside or experiment.condition


def takes(condition: Condition, size: tuple[int, int]) -> str:
    """What has to be given to a model of this condition, for images of `size` (H, W)."""
    height, width = size
    said = {
        Unconditional: "nothing is told to it",
        Label: "--label NUMBER",
        Layout: "--boxes FILE.json, a list of [x, y, width, height, class] in parts of the image",
        Inpainting: f"--init-image P and --mask P, images of {width} x {height} pixels or more",
        Depth: "--depth P, an image that is brighter where things are nearer",
        CLIPImage: "--image P, an image to vary",
        UnCLIP: "--image P, an image to vary; --prompt TEXT may say more",
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
        return f"--low-resolution P, an image of {small} pixels"
    if isinstance(condition, Retrieval):
        dim = condition.dim
        return (
            f"--neighbours FILE.npy, embeddings [k, {dim}]; or a collection of them [N, {dim}] and "
            f"--query FILE.npy [n, {dim}], the nearest to which are told"
        )
    return said[type(condition)]
