"""A request for pictures: checked, drawn from a trained model, and written with its report.

wanted.py     everything that decides which pictures are drawn
options.py    what sample.py can be asked, in words
checked.py    from these words to such a request, by the next ones:
condition.py  prompts and labels
captions.py   prompts of a file, weighed, long, by another layer of the tower
task.py       what a model is told of a picture: takes.py, by which words; files.py; held_out.py,
              examples in place of files; noise_level.py
walk.py       sampler, grid and its options
guidance.py   what else guides; classifier.py
frames.py     a walk between prompts and between seeds
start.py      a picture to start from
shown.py      by which first stage pictures are decoded, in the end and on the way
given.py      files of latents and pictures
drawing.py    the pictures
finishing.py  what is done with them, where asked: a safety check, a watermark
written.py    the pictures in a folder, with a report
remembered.py what each of them says of itself, and the way back to a request
"""

from ldm_jax.request import remembered
from ldm_jax.request.checked import check_count, resolve
from ldm_jax.request.drawing import compiled, draw, draw_in_turn
from ldm_jax.request.given import load_latents
from ldm_jax.request.wanted import Drawn, Request
from ldm_jax.request.written import report, write

__all__ = [
    "Drawn",
    "Request",
    "check_count",
    "compiled",
    "draw",
    "draw_in_turn",
    "load_latents",
    "remembered",
    "report",
    "resolve",
    "write",
]
