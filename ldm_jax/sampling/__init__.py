"""A request for images, section by section, and what draws it.

request.py    the sections of a run's request, and from options to a request; each in its file:
output.py, images.py, size.py, latents.py, sampler.py, guidance.py, classifier.py, composition.py,
interpolate.py, start.py, decoding.py, finishing.py, prior.py; those of conditions in conditioning/
view.py       what sections see of a run
drawing.py    a request is drawn; generate.py: noise to images, compiled once, or ahead of time by
              exported.py; stepwise.py: the same some steps at a time
prior.py      images of a variational autoencoder's prior
interpolation.py, invert.py, patchwise.py, tiled.py    functions that drawing uses
save.py       the images in a folder, with a report
png_metadata.py  the request in each image's metadata, and the request of an image
"""

from ldm_jax.sampling import png_metadata
from ldm_jax.sampling.drawing import Drawn, compiled, draw, draw_in_turn, draw_stepwise, inputs_of
from ldm_jax.sampling.request import resolve
from ldm_jax.sampling.save import check_out, write

__all__ = [
    "Drawn",
    "check_out",
    "compiled",
    "draw",
    "draw_in_turn",
    "draw_stepwise",
    "inputs_of",
    "png_metadata",
    "resolve",
    "write",
]
