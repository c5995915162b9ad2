"""Runs: folders that hold a config, its checkpoints and what training wrote.

RUN/config.py            the resolved config: read as data, see reader.py
RUN/tokenizer.json       where captions are read; tokenizer_1.json, ... of further text encoders
RUN/classes.txt          names of the classes, where there are any
RUN/objects.txt          names of the classes of what lies in boxes, where there are any
RUN/checkpoints/STEP/    what training changed, see ldm_jax/checkpoint/
RUN/frozen/              the weights that training does not change
RUN/digests/NAME.json    of the files of checkpoint NAME, or of "frozen"
RUN/snapshots/STEP/      averages that are kept, see train_step/power_ema.py
RUN/damaged/STEP/        checkpoints that could not be read
RUN/lock                 held by the process that trains, see runtime/lock.py
RUN/profile/             traces, where train.profile_steps asks for them
RUN/metrics.csv, RUN/events.out.tfevents.*, RUN/samples/STEP.png
RUN/evaluation/          statistics of what samples are measured against while training goes on
RUN/aside.safetensors    what a converted checkpoint held besides the model
RUN/first_stage/         the first stage's run, where it was trained on the way

What is here reads and writes them:

paths.py      which run a path means, which checkpoint of it, and its config
config_file.py  what a user or a run has as a config
reader.py     its config.py as data: parsed, never executed
migrate.py    settings of older runs under the names that they have today
names.py      its tokenizers, names of classes and of objects
writing.py    what it says of itself, written
record.py     what it says of itself, against what it is asked to go on with
loading.py    the model of a run: what it is first, then its weights
adapters.py   adapters of other runs and of files, attached to it
"""

from ldm_jax.runs.adapters import (
    Attached,
    attach,
    attach_described,
    check_of_weights,
    parsed,
    write_described,
)
from ldm_jax.runs.loading import (
    Trained,
    describe,
    describe_any,
    describe_classifier,
    describe_files,
    describe_first_stage,
    find_first_stage,
    load,
    load_clip,
    load_first_stage,
    load_first_stage_config,
    load_scaled_first_stage,
    model_shapes,
    with_weights,
)
from ldm_jax.runs.names import load_tokenizers, object_names, text_encoders, tokenizer_file
from ldm_jax.runs.paths import (
    AnyExperiment,
    chosen,
    folder,
    is_run,
    load_config,
    locate,
    weights_files,
)
from ldm_jax.runs.writing import (
    as_python,
    check_new,
    copy_names,
    write,
    write_description,
    write_imported,
)
