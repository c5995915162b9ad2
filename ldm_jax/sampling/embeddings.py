"""Image embeddings in place of a prior's: variations, interpolations and text diffs (Ramesh et al.
2022, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.conditioning.clip_image import middle
from ldm_jax.conditioning.embedded_image import EMBEDDING
from ldm_jax.data import transforms
from ldm_jax.data.given import decoded
from ldm_jax.diffusion import sampling
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.sampling.cascade import Part, draw
from ldm_jax.sampling.interpolation import slerp
from ldm_jax.sampling.invert import make_invert
from ldm_jax.sections import Texts
from ldm_jax.settings import AtLeast2, Fraction
from ldm_jax.types import Batch, Params


@dataclass(frozen=True)
class Embeddings:
    """What sample.py may be given in place of what a cascade's prior draws."""

    image: Texts = ()
    """one image to vary, or two, by their CLIP embeddings in place of the prior's"""
    interpolate: AtLeast2 | None = None
    """N images on the sphere, from the first image to the second, or from the first prompt to the
    second; with --from-prompt, from the image on"""
    from_prompt: str | None = None
    """what the image shows; it is changed by the difference of --prompt to it"""
    to_fraction: Fraction = 0.5
    """how far towards that difference the last image is"""
    invert: bool = False
    """start from the noise behind the images, found by DDIM, with which DDIM draws them again"""

    @property
    def uses_embeddings(self) -> bool:
        """Whether the second stage is given embeddings."""
        return bool(self.image or self.interpolate or self.from_prompt or self.invert)

    def check_embeddings(self, parts: Sequence[Part], prompts: Sequence[str]) -> None:
        """Raises InputError for options that do not go together or with the cascade."""
        if not self.uses_embeddings:
            return
        count = len(self.image)
        if EMBEDDING not in parts[min(1, len(parts) - 1)].model.conditioner.keys:
            raise InputError(
                "--image and --interpolate are of a cascade whose first stage is a prior and whose "
                "second reads image_embedding, and this has none"
            )
        if count > 2 or (count == 2 and not self.interpolate):
            raise InputError(
                f"--image names {count}: expected one to vary, or two with --interpolate N"
            )
        if count and parts[1].embed is None:
            raise InputError(
                f"stage {parts[1].name} has no image encoder for --image: expected a decoder with "
                "one, whose EmbeddedImage has encodes=True"
            )
        if self.from_prompt is not None:
            if count != 1 or len(prompts) != 1 or not self.interpolate:
                raise InputError(
                    "--from-prompt is given: expected --interpolate N, one --image, and one "
                    "--prompt, by whose difference the image is changed"
                )
        elif self.interpolate and (count == 1 or (not count and len(prompts) != 2)):
            raise InputError(
                f"--interpolate is {self.interpolate}: expected two of --image, two of --prompt, "
                "or --from-prompt with one of each"
            )
        if self.invert and not (count and parts[1].sampling.sampler == "ddim"):
            raise InputError(
                "--invert is given: expected --image, and --stages.1.sampler ddim, which alone "
                "leads back to it"
            )


class Given(NamedTuple):
    """What the stages from the second on are given.

    inputs: EMBEDDING, [N, d]
    seeds:  [N]
    noise:  [N, h, w, c] to start from; None: of the seeds
    """

    inputs: Batch
    seeds: np.ndarray
    prompts: Sequence[str]
    noise: np.ndarray | None = None


def given(
    asked: Embeddings, parts: Sequence[Part], seeds: np.ndarray, prompts: Sequence[str]
) -> Given:
    """The embeddings of images that are varied, or of places between two.

    All places between two have the first seed, and no caption.
    """
    decoder, params = parts[1], parts[1].read()
    images = [_opened(path) for path in asked.image]
    noise, e = None, None
    if images:
        e = decoder.embed(params, images)
        noise = _behind(decoder, params, images, e) if asked.invert else None
    if not asked.interpolate:
        rows = np.zeros(len(seeds), int)
        return Given({EMBEDDING: e[rows]}, seeds, prompts, noise if noise is None else noise[rows])
    N, end = asked.interpolate, 1.0
    if asked.from_prompt is not None:
        e = np.concatenate([e, changed(e, _captions(decoder, params, prompts[0], asked))])
        end, noise = asked.to_fraction, noise if noise is None else np.repeat(noise, 2, axis=0)
    elif not images:
        (e,) = draw([parts[0]], np.repeat(seeds[:1], 2), prompts)
    w = np.linspace(0.0, end, N, dtype=np.float32)
    if noise is not None:
        noise = between(noise, w / end if asked.from_prompt is not None else w)
    return Given({EMBEDDING: between(e, w)}, np.repeat(seeds[:1], N), ("",), noise)


def between(ends: np.ndarray, w: np.ndarray) -> np.ndarray:
    """[2, ...] -> [N, ...], on the sphere from the first at w = 0 to the second at w = 1."""
    a, b = (jnp.repeat(jnp.asarray(x)[None], len(w), axis=0) for x in ends)
    return np.asarray(slerp(a, b, jnp.asarray(w)))


def changed(image: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """The text diff of captions [2, d], from the first to the second, as long as the embedding of
    the image [1, d] (section 3.3: z_d = norm(z_t - z_t0))."""
    first, second = captions / np.linalg.norm(captions, axis=1, keepdims=True)
    difference = second - first
    length = np.linalg.norm(difference)
    if not length > 0:
        raise InputError("--from-prompt and --prompt are the same: expected two captions")
    return np.linalg.norm(image) * difference[None] / length


def _captions(decoder: Part, params: Params, prompt: str, asked: Embeddings) -> np.ndarray:
    """The embeddings [2, d] of what the image shows and of what it is to show."""
    model, words = decoder.model, (asked.from_prompt, prompt)
    inputs = model.conditioner.null(2)
    for entry, tokenizer in decoder.tokenizers.items():
        inputs[entry] = jnp.stack([tokens.encode(tokenizer, text) for text in words])
    joined = model.condition(params, inputs).vector
    return np.asarray(joined[:, : joined.shape[1] - inputs[EMBEDDING].shape[1]])


def _behind(decoder: Part, params: Params, images: list[Image.Image], e: np.ndarray) -> np.ndarray:
    """The noise behind images by DDIM, under their embeddings and no caption, [n, h, w, c]."""
    invert, n = make_invert(decoder.model), len(images)
    times = sampling.padded_times(decoder.sampling, decoder.model.process)[::-1]
    pixels = np.stack([transforms.normalize(middle(x, decoder.size[0])) for x in images])
    inputs = decoder.model.conditioner.null(n) | {EMBEDDING: jnp.asarray(e)}
    return np.asarray(invert(params, inputs, jnp.asarray(pixels), times))


def _opened(path: str) -> Image.Image:
    return decoded(
        path, "--image", "an image", lambda path: transforms.decode(path, (255, 255, 255))
    )
