"""Inpainting: a masked image and its mask (Rombach et al. 2022, section 4.5)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from ldm_jax.autoencoders.latents import scaled
from ldm_jax.conditioning.condition import BuildContext, Condition
from ldm_jax.conditioning.given import Given, HeldOut
from ldm_jax.data import masks, transforms
from ldm_jax.data.given import load_image, load_mask
from ldm_jax.sections import Request, RunView
from ldm_jax.settings import Fraction
from ldm_jax.types import Array, Batch, Cond, Conditioner, Derive
from ldm_jax.weights.names.condition import ABSENT, ConditionNames, DiffusersFacts, DiffusersParts


@dataclass(frozen=True)
class Masked(Given):
    """An image of which a region is inpainted."""

    key: ClassVar[str] = "start"

    init_image: str | None = None
    """an image to start from, noised in part; or to inpaint"""
    mask: str | None = None
    """an image that is white where the first is inpainted"""

    def missing(self) -> bool:
        return not (self.init_image and self.mask)

    def read(self, request: Request, run: RunView) -> Batch:
        size = run.size(request.size.size)
        image = load_image(self.init_image, "--init-image", run.data, size)
        mask = load_mask(self.mask, "--mask", run.data, size)
        return {"image": transforms.normalize(image)[None], "mask": mask[None]}

    def finish(self, images: np.ndarray, inputs: Batch) -> np.ndarray:
        return np.where(inputs["mask"] > 0.5, images, inputs["image"])


@dataclass(frozen=True)
class Inpainting(Condition):
    """The masked image and the mask; the original's inpainting_big.

    Stable Diffusion has the mask first, as 0 and 1, and grey in the inpainted region; latent
    diffusion has it last, as -1 and 1, and black; GLIDE has it last, as 1 and 0, and grey, and its
    predicted x0 is the image where that is known.
    """

    # whose: the fill, the mask, the order
    form: Literal["latent_diffusion", "stable_diffusion", "glide"] = "latent_diffusion"
    drop: Fraction = 0.0  # share of masked images dropped in training

    kind: ClassVar = "masked images"
    stays: ClassVar = True
    reads: ClassVar = ("mask",)
    sections: ClassVar = (Masked, HeldOut)

    def derive(self, factor: int) -> dict[str, Derive]:
        """The region to inpaint, [R, R, 1] float32, 1 where it is."""

        def make(example, rng):
            return masks.free_form(len(example["image"]), rng)[..., None].astype(np.float32)

        return {"mask": make}

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch["image"]` [B, H, W, 3] and `batch["mask"]` [B, H, W, 1], 1 in the
        inpainted region.

        The network is conditioned on the latents of the masked image (the mean of the posterior)
        and on the mask at every f-th pixel, as by PyTorch's nearest resizing. A fully masked image
        is the unconditional one.
        """
        first_stage, form = context.first_stage, FORMS[self.form]
        f, (outside, inside) = first_stage.factor, form.masks

        def encode(params, inputs):
            image = hide(inputs["image"], inputs["mask"], form.fill)
            latents = scaled(params, first_stage.posterior(params, image).mean)
            mask = outside + (inside - outside) * inputs["mask"][:, ::f, ::f]
            return {"latents": latents, "mask": mask}

        def apply(params, inputs):
            return Cond(concat=jnp.concatenate([inputs[name] for name in form.order], axis=-1))

        def null(n, h=1, w=1):
            shape = (n, h * f, w * f)
            return {"image": jnp.full((*shape, 3), form.fill), "mask": jnp.ones((*shape, 1))}

        def known(inputs):
            return inputs["latents"], (inputs["mask"] - outside) / (inside - outside)

        known = known if form.known else None
        return Conditioner(apply, null, ("image", "mask"), encode=encode, known=known)

    def names(self, channels: int) -> ConditionNames:
        copies = self.form == "latent_diffusion"
        return ConditionNames(concat=channels + 1, copies=copies)

    def diffusers(self) -> DiffusersParts:
        absent = {"feature_extractor": ABSENT, "safety_checker": ABSENT}
        return DiffusersParts("StableDiffusionInpaintPipeline", index=absent)

    @classmethod
    def of_diffusers(cls, facts: DiffusersFacts) -> "Inpainting | None":
        return cls(form="stable_diffusion") if facts.extra == facts.channels + 1 else None

    def takes(self, size: tuple[int, int]) -> str:
        height, width = size
        return f"--init-image P and --mask P, images of {width} x {height} pixels or more"


class Form(NamedTuple):
    """The form of the conditioning inputs.

    fill:  colour of the inpainted region
    masks: values of the mask outside and inside of it
    order: of the channels
    known: whether sampling takes x0 from the image where it is known
    """

    fill: float
    masks: tuple[float, float]
    order: tuple[str, str]
    known: bool = False


FORMS = {
    "latent_diffusion": Form(-1.0, (-1.0, 1.0), ("latents", "mask")),
    "stable_diffusion": Form(0.0, (0.0, 1.0), ("mask", "latents")),
    "glide": Form(0.0, (1.0, 0.0), ("latents", "mask"), known=True),
}


def hide(image: Array, mask: Array, fill: float = -1.0) -> Array:
    """The image [B, H, W, 3], `fill` where the mask [B, H, W, 1] is 1."""
    return jnp.where(mask > 0.5, fill, image)
