"""GLIDE's upsampler that inpaints."""

from base import *

text, small = upsample.conditions
config = replace(
    upsample,
    conditions=(text, Inpainting(form="glide"), small),
    sampling=replace(upsample.sampling, sampler="ddpm"),
)
