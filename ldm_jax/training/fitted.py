"""What a config leaves open, filled in by the data: classes, captions, image sizes."""

from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer

from ldm_jax import runs
from ldm_jax.data import pipeline
from ldm_jax.data.settings import Data
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.errors import InputError
from ldm_jax.experiments.clip import CLIPExperiment
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runs import init_from
from ldm_jax.training.source import Source


def inherit(first_stage: FirstStageExperiment, data: Data) -> FirstStageExperiment:
    """The first stage with the second stage's data in every field left at its default.

    Where the first stage names images of its own, it shares the image size alone.
    """
    return replace(first_stage, data=inherited(first_stage.data, data))


def inherited(own: Data, data: Data) -> Data:
    """`own` with the fields of `data` where it has defaults; see `inherit`."""
    default = Data()
    alone = ("buckets", "bucket_aspect")  # of the second stage
    names = ("image_size",) if own.path else (field.name for field in fields(Data))
    names = [name for name in names if name not in alone]
    filled = {n: getattr(data, n) for n in names if getattr(own, n) == getattr(default, n)}
    return replace(own, **filled)


def find_clip_tokenizer(
    experiment: CLIPExperiment, run: Path, source: Source, start: init_from.Start | None = None
) -> Tokenizer:
    """What cuts captions into byte pairs: of the run, given, published, inherited or learned.

    Raises:
        InputError: no captions, no such file, or more tokens than model.vocab_size.
    """
    model = experiment.model
    if not source.info.has_captions:
        raise InputError(f"the data has no captions: {source.info.absent['text']}")
    places = [run, *([runs.folder(start.run)] if start else [])]
    kept = [place / "tokenizer.json" for place in places]
    kept = [str(path) for path in kept if path.exists()]
    given = model.tokenizer or next(iter(kept), None)
    if given or model.vocab_size == clip.PIECES:
        tokenizer = clip.load(given, model.length, model.weights)
        count = tokenizer.get_vocab_size()
        if count > model.vocab_size:
            raise InputError(
                f"model.vocab_size is {model.vocab_size} and tokenizer '{given}' has {count} "
                f"tokens: expected --model.vocab-size {count}"
            )
        return tokenizer
    captions = pipeline.captions(source.records)
    return clip.learn(captions, model.vocab_size, model.length, model.weights)


def find_tokenizers(
    experiment: Experiment, run: Path, source: Source, start: init_from.Start | None = None
) -> dict[str, Tokenizer]:
    """The tokenizers of captions by entries of a batch: of the run, given, inherited, or learned
    from the data."""
    there = runs.text_encoders(start.experiment) if start else {}
    found = {}
    for entry, encoder in runs.text_encoders(experiment).items():
        kept = run / runs.tokenizer_file(entry)
        if kept.exists():
            found[entry] = encoder.load_tokenizer(kept)
            continue
        inherited = (there[entry], start.run / kept.name) if entry in there else None
        captions = partial(pipeline.captions, source.records)
        found[entry] = encoder.find_tokenizer(inherited, captions)
    return found
