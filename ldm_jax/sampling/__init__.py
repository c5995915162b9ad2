"""A request for images, section by section, and what draws it.

wanted.py     everything that decides which images are drawn
options.py    what sample.py can be asked, in words
checked.py    from these words to such a request, by the next ones:
condition.py  prompts and labels
captions.py   prompts of a file, weighted, long, by another layer of the text encoder
task.py       the conditioning inputs of an image: takes.py, by which words; files.py; held_out.py,
              examples in place of files; noise_level.py
walk.py       sampler, timestep spacing and its options
guidance.py   what else guides; classifier.py
frames.py     interpolation between prompts and between seeds
start.py      an image to start from
shown.py      by which first stage images are decoded, in the end and on the way
given.py      files of latents and images
drawing.py    a request is drawn; generate.py: noise to images, compiled once; programs.py: the same
              as four programs, which exported.py loads
prior_request.py, prior.py    images of a variational autoencoder's prior
interpolation.py, invert.py, patchwise.py, tiled.py    functions that drawing uses
finishing.py  a safety check, a watermark
save.py       the images in a folder, with a report
png_metadata.py  the request in each image's metadata, and the way back
"""

from ldm_jax.sampling import png_metadata
from ldm_jax.sampling.checked import check_count, resolve
from ldm_jax.sampling.drawing import compiled, draw, draw_in_turn
from ldm_jax.sampling.given import load_latents
from ldm_jax.sampling.save import report, write
from ldm_jax.sampling.wanted import Drawn, Request

__all__ = [
    "Drawn",
    "Request",
    "check_count",
    "compiled",
    "draw",
    "draw_in_turn",
    "load_latents",
    "png_metadata",
    "report",
    "resolve",
    "write",
]
