"""GLIDE's base model that inpaints; starts from the weights of the other with --init-from RUN
--init-partial."""

from base import *

config = replace(
    base,
    conditions=(*base.conditions, Inpainting(form="glide")),
    sampling=replace(base.sampling, guidance=5.0),
)
