"""A run goes on as what it is: what may change is listed, all else is refused by name."""

import shutil
from dataclasses import replace

import pytest

from ldm_jax import runs, training
from ldm_jax.config import AdapterExperiment, ClassifierExperiment, Label
from ldm_jax.errors import InputError
from ldm_jax.runs.record import MAY_CHANGE, check_record, settings_of


def changed(config, name, value):
    """A config with the value of one field, dotted."""
    head, _, rest = name.partition(".")
    if isinstance(config, tuple):
        return tuple(changed(x, rest, value) if i == int(head) else x for i, x in enumerate(config))
    return replace(config, **{head: changed(getattr(config, head), rest, value) if rest else value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.num_heads", 1),
        ("diffusion.schedule", "linear"),
        ("diffusion.prediction", "eps"),
        ("loss.weight", "min_snr"),
        ("conditions.0.drop", 0.7),
        ("data.flip", True),
        ("data.caption", "other"),
        ("optim.kind", "lion"),
        ("optim.ema_decay", 0.5),
        ("seed", 9),
        ("first_stage.loss.kl_weight", 0.3),
        ("first_stage.model.z_channels", 7),
    ],
)
def test_another_value_is_refused_with_both(class_run, name, value):
    experiment = runs.load_config(class_run)
    was = settings_of(experiment)[name]
    with pytest.raises(InputError) as refused:
        check_record(class_run, changed(experiment, name, value), (), ())
    message = str(refused.value)
    assert f"'{class_run}' is another one: {name} is " in message
    for text in (str(was), "there and", str(value), "--workdir", f"--init-from {class_run}"):
        assert text in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train.steps", 999),
        ("train.accumulate", 2),
        ("train.mesh.fsdp", 2),
        ("optim.lr", 7.0),
        ("data.batch_size", 3),
        ("data.path", "elsewhere"),
        ("sampling.guidance", 9.0),
        ("model.compute", "bfloat16"),
        ("first_stage.data.threads", 9),
        ("first_stage.train.log_every", 9),
    ],
)
def test_what_may_change_may(class_run, name, value):
    check_record(class_run, changed(runs.load_config(class_run), name, value), (), ())


def test_every_field_that_may_change_is_one(class_run):
    names = [*settings_of(runs.load_config(class_run)), *settings_of(AdapterExperiment())]
    for pattern in MAY_CHANGE:
        assert any(name.endswith(pattern.strip("*")) or pattern[:-1] in name for name in names)


def test_another_class_of_settings_and_another_kind_are_refused(class_run):
    experiment = runs.load_config(class_run)
    two = replace(experiment, conditions=(*experiment.conditions, Label(dim=8)))
    with pytest.raises(InputError, match=r"is \('Label',\) there and \('Label', 'Label'\) here"):
        check_record(class_run, two, (), ())
    with pytest.raises(InputError, match="is a diffusion model: expected the run of a classifier"):
        check_record(class_run, ClassifierExperiment(), (), ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda old: ("an " + old[0], *old[1:]), "class 0 is '{0}' there and 'an {0}' here"),
        (lambda old: (*old, "zebra"), "absent there and 'zebra' here"),
        (lambda old: old[:-1], "' there and absent here"),
        (lambda old: old[::-1], "class 0 is '{0}' there"),
    ],
)
def test_other_classes_are_refused(class_run, change, said):
    experiment, old = runs.load_config(class_run), runs.describe(class_run).class_names
    check_record(class_run, experiment, old, ())
    with pytest.raises(InputError) as refused:
        check_record(class_run, experiment, change(old), ())
    assert said.format(*old) in str(refused.value)


def test_a_first_stage_may_be_elsewhere_but_no_other(trained_run, class_run, tmp_path):
    """Its weights decide, and not where it is or how it was trained."""
    experiment = runs.load_config(trained_run)
    moved = shutil.copytree(trained_run / "first_stage", tmp_path / "moved")
    given = replace(experiment.first_stage, run=str(moved), seed=77)
    check_record(trained_run, replace(experiment, first_stage=given), (), ())
    given = replace(experiment.first_stage, run=str(class_run))
    with pytest.raises(InputError, match=f"first_stage.run is None there and '{class_run} with"):
        check_record(trained_run, replace(experiment, first_stage=given), (), ())


@pytest.mark.parametrize("name", ["config.py", "classes.txt", "objects.txt", "metrics.csv"])
def test_a_new_run_writes_over_nothing_of_the_users_own(class_run, tmp_path, name):
    (tmp_path / "notes.txt").write_text("mine")
    runs.check_new(tmp_path)
    (tmp_path / name).write_text("# mine\n")
    with pytest.raises(InputError, match=f"has '{name}', which train.py has not written"):
        runs.check_new(tmp_path)
    (tmp_path / "config.py").write_text((class_run / "config.py").read_text())
    runs.check_new(tmp_path)  # of a start that was killed


def test_a_refused_resume_leaves_the_run_as_it_is(trained_run):
    experiment = runs.load_config(trained_run)
    before = {file: file.stat().st_mtime_ns for file in trained_run.rglob("*")}
    other = replace(experiment, diffusion=replace(experiment.diffusion, schedule="linear"))
    other = replace(other, train=replace(other.train, steps=99))
    with pytest.raises(InputError, match=r"diffusion.schedule is '\w+' there and 'linear' here"):
        training.train(other, trained_run)
    assert {file: file.stat().st_mtime_ns for file in trained_run.rglob("*")} == before
