"""Training of image and text encoders on captions (CLIP)."""

from dataclasses import replace
from pathlib import Path

import jax

from ldm_jax.experiments.clip import CLIPExperiment
from ldm_jax.runs import init_from
from ldm_jax.train_step.contrastive import contrastive_objective, init_clip
from ldm_jax.training.checked import open_images
from ldm_jax.training.fitted import find_clip_tokenizer
from ldm_jax.training.task import Task


def clip_task(
    experiment: CLIPExperiment,
    folder: Path,
    dry_run: bool = False,
    start: init_from.Start | None = None,
) -> Task:
    """The training of both encoders on images with captions."""
    source = open_images(experiment)
    tokenizer = find_clip_tokenizer(experiment, folder, source, start)
    size = tokenizer.get_vocab_size()
    experiment = replace(experiment, model=replace(experiment.model, vocab_size=size))
    model, loss = experiment.build(), experiment.loss
    batch_size, parts = experiment.data.batch_size, experiment.train.accumulate

    def init(key):
        return init_clip(model, loss, key)

    return Task(
        name="clip",
        experiment=experiment,
        source=source,
        tokenizers={"tokens": tokenizer},
        keys=("tokens",),
        init=init,
        shapes=jax.eval_shape(init, jax.random.key(0)),
        objective=contrastive_objective(model, loss, batch_size, parts),
    )
