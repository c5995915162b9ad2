"""Measures a run: its newest checkpoint, or with --checkpoint another, a step or best.

python scripts/evaluate.py captions RUN [--num 200] [--out DIR] [sampling options]
    draws images for captions of `shapes` whose combinations of shape, color and position were
    held out from training, reads them, and prints the share that shows all that its caption says
python scripts/evaluate.py bound RUN [--split test] [--num N] [--draws 10]
    the bound of a variational autoencoder on the log-probability of images, in nats and in bits
python scripts/evaluate.py bits RUN DATA [--num 64] [--out DIR] [options]
    how probable a diffusion model finds the latents of images of DATA, in bits per dimension of the
    latents (not of pixels): by the variational bound, with its term at each time, and by the
    probability flow
python scripts/evaluate.py first-stage RUN DATA [--num 1000] [--out DIR] [options]
    encodes and decodes images of DATA (a folder, tfds:NAME or shapes) with the first stage of RUN,
    and prints PSNR, SSIM and LPIPS of what comes back, the statistics of its latents, and their KL
    or the use of its codes; --tile N works tile by tile, --compare says what that changes
python scripts/evaluate.py {layout,semantic,super-resolution,inpainting} RUN [--num 100] [options]
    draws for conditions of the test split of the run's data, and prints how far images follow
    them: boxes found where asked, agreement with class maps, PSNR (and with --lpips vgg LPIPS)
    against bicubic, the error inside holes against the mean colour
python scripts/evaluate.py retrieval RUN [--num 100] [--extractor mobilenet] [options]
    draws for the neighbours, among the training images, of held-out images, and prints how much
    nearer images are to these than to others
python scripts/evaluate.py labels RUN CLASSIFIER [--num 100] [--real DATA] [options]
    draws images of all classes, cycled, and predicts their classes by a classifier of noised
    latents that was trained on real images (configs/small-classifier.py); --real gives its own
    accuracy on held-out images
python scripts/evaluate.py hints RUN --adapter CONTROLNET [--captions] [--num 100] [options]
    draws images that follow the edges of held-out images, and prints how well these are found
    again (F1 within a pixel), against those of another image and of images of the base alone
python scripts/evaluate.py samples A B [--num N] [--extractor mobilenet] [options]
    how far samples A are from real images B: FID, sFID, KID, Inception Score, precision and recall,
    density and coverage, with a report of all that a reader has to know. Each is a folder, an .npz
    of images (arr_0) or of statistics (mu, sigma), or data:RUN, what a run was trained on; A may
    also be a run, of which samples are then drawn
python scripts/evaluate.py generate RUN [--num 50000] [--out DIR] [sampling options]
    draws samples into shards; the same command again goes on where it stopped
python scripts/evaluate.py clip-score RUN_OR_FOLDER --weights CLIP [--num 1000] [options]
    how well images agree with their captions, as CLIP sees it: 100 max(cos, 0). Captions are
    those that sample.py or `generate` drew for, metadata.jsonl, or the .txt beside each image; of
    a run, samples are drawn for captions of its data first
python scripts/evaluate.py zero-shot MODEL DATA [--classes ...] [--templates ...] [options]
    sorts images into classes by what they are called: MODEL is the run of a CLIP
    (configs/small-clip.py), or its weights from elsewhere (with --clip vit_b32); prints top-1 and
    top-5 accuracy and which class is taken for which
python scripts/evaluate.py sweep RUN B [--steps 10 25 50] [--guidance 1 2 3] [--samplers ...]
    the distance to B over steps, guidance, eta and samplers, with intervals over seeds, as a table
    and a plot; finished cells are not measured again
"""

if __name__ == "__main__":  # what is imported next takes seconds
    from ldm_jax.runtime import interrupt

    interrupt.end_on_interrupt()

import importlib
from collections.abc import Sequence
from types import ModuleType

from ldm_jax import cli, runs
from ldm_jax.errors import InputError
from ldm_jax.evaluate.results import check_options

TOOLS = {  # name -> what its first words are; a function of that name in a file of evaluate/
    "captions": "RUN",
    "bound": "RUN",
    "bits": "RUN DATA",
    "first-stage": "RUN DATA",
    "labels": "RUN CLASSIFIER",
    "layout": "RUN",
    "hints": "RUN",
    "retrieval": "RUN",
    "semantic": "RUN",
    "super-resolution": "RUN",
    "inpainting": "RUN",
    "samples": "A B",
    "generate": "RUN",
    "clip-score": "RUN_OR_FOLDER",
    "zero-shot": "MODEL DATA",
    "sweep": "RUN B",
}


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"ldm_jax.evaluate.{name.replace('-', '_')}")


def main(words: Sequence[str]) -> None:
    """Parse, call."""
    if {"--help", "-h"} & set(words[:1]):
        print(__doc__)
        return
    shell, _ = cli.option(words, cli.COMPLETION, cli.EITHER)
    if shell:
        cli.print_completion(shell, "evaluate.py", {x: _module(x).Options() for x in TOOLS})
    if not words or words[0] not in TOOLS:
        named = f"'{words[0]}' is no evaluation" if words else "no evaluation"
        raise InputError(f"{named}: expected python scripts/evaluate.py {{{','.join(TOOLS)}}} RUN")
    which, words = cli.option(words, "--checkpoint", "a step, or best")
    name, *words = words
    tool, title = _module(name), f"evaluate.py {name}"
    given, options = cli.arguments(tool.Options(), words, TOOLS[name], title, __doc__)
    check_options(options)
    if which:
        given = [str(runs.chosen(given[0], which)), *given[1:]]
    getattr(tool, name.replace("-", "_"))(*given, options)


if __name__ == "__main__":
    cli.main(main)
