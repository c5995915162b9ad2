"""An adapter trained on a run: what its run holds, how it goes on, and what it changes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from ldm_jax import runs, sampling, training
from ldm_jax.config import AdapterExperiment, ControlNet, LoRA, Optim, Train
from ldm_jax.errors import InputError
from ldm_jax.evaluate import hints as evaluated
from ldm_jax.runs.adapters import parsed
from ldm_jax.sampling.adapters import AdapterOptions, Adapters, window
from ldm_jax.sampling.request import resolve
from ldm_jax.sampling.sampler import Sampler
from tests.support import tiny
from tests.training.resume_test import train_until

ADAPTERS = {"control": ControlNet(stem=(4, 8)), "style": LoRA(rank=2)}
EXPERIMENT = AdapterExperiment(
    optim=Optim(lr=1e-2, ema_decay=0.5),
    train=Train(steps=4, save_every=2, log_every=1, sample_every=4, num_samples=2),
)


def of(name: str, base: Path) -> AdapterExperiment:
    return replace(EXPERIMENT, base=str(base), adapter=ADAPTERS[name], drop=0.5)


@pytest.fixture(scope="module")
def adapter_runs(trained_run, tmp_path_factory) -> dict[str, Path]:
    """A run of each adapter on `trained_run`, trained without a pause."""
    folder = tmp_path_factory.mktemp("adapters")
    for name in ADAPTERS:
        training.train(of(name, trained_run), folder / name)
    return {name: folder / name for name in ADAPTERS}


@pytest.fixture(scope="module")
def hint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("hints") / "edges.png"
    Image.fromarray(np.eye(tiny.SIZE, dtype=np.uint8) * 255).save(path)
    return path


def drawn(base: Path, *adapters: str, **options):
    described = runs.attach(runs.describe(base), adapters)
    request = resolve(described, num=2, steps=2, adapter=adapters, **options)
    return sampling.draw(runs.with_weights(described), request).images


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_run_holds_the_adapter_alone(name, adapter_runs, trained_run):
    run = adapter_runs[name]
    assert set(tiny.saved(run, 4)["params"]) == {"adapters"}
    assert not (run / "frozen").exists()
    assert runs.load_config(run).base == str(trained_run.absolute())
    assert (run / "samples" / "00000004.png").exists()


def test_training_changes_the_adapter(adapter_runs):
    for run in adapter_runs.values():
        early, late = (tiny.saved(run, step)["params"] for step in (2, 4))
        changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), early, late)
        assert np.mean(jax.tree.leaves(changed)) > 0.8


def test_a_run_that_died_goes_on_bit_for_bit(adapter_runs, trained_run, tmp_path):
    for name, run in adapter_runs.items():
        experiment = of(name, trained_run)
        train_until(3, experiment, tmp_path / name)
        training.train(experiment, tmp_path / name)
        tiny.assert_same(tiny.saved(tmp_path / name, 4), tiny.saved(run, 4))


def test_it_goes_on_with_its_base_alone(adapter_runs, trained_run, tmp_path):
    """A base elsewhere is the same, one of other weights is not."""
    run = shutil.copytree(adapter_runs["style"], tmp_path / "style")
    moved = shutil.copytree(trained_run, tmp_path / "moved")
    longer = replace(of("style", moved), train=replace(EXPERIMENT.train, steps=5, sample_every=0))
    training.train(longer, run)
    assert tiny.rows(run)[-1]["step"] == "5"
    other = replace(longer, base=str(trained_run / "checkpoints" / "2"))
    with pytest.raises(InputError, match="base_digest is"):
        training.train(other, run)


def test_at_scale_0_images_are_those_of_the_base(adapter_runs, trained_run, hint):
    plain = drawn(trained_run)
    for name, more in (("control", {"hint": (str(hint),)}), ("style", {})):
        run = adapter_runs[name]
        np.testing.assert_array_equal(drawn(trained_run, f"{run}:0", **more), plain)
        assert np.any(drawn(trained_run, f"{run}:2", **more) != plain)


def test_in_guess_mode_the_unconditional_image_is_the_base_s(adapter_runs, trained_run, hint):
    """At guidance 0 nothing but it is left."""
    run, options = f"{adapter_runs['control']}:5", {"guidance": 0.0, "hint": (str(hint),)}
    plain = drawn(trained_run, guidance=0.0)
    np.testing.assert_array_equal(drawn(trained_run, run, guess=True, **options), plain)
    assert np.any(drawn(trained_run, run, **options) != plain)


def test_prompts_that_are_composed_all_have_the_hint(adapter_runs, trained_run, hint):
    """Two equal prompts that count a half each are one."""
    run, words = f"{adapter_runs['control']}:3", "a red image"
    one = drawn(trained_run, run, hint=(str(hint),), prompt=(words,), guidance=2.0)
    both = {"compose": (words, words), "compose_weights": (0.5, 0.5)}
    two = drawn(trained_run, run, hint=(str(hint),), guidance=2.0, **both)
    assert np.max(np.abs(one.astype(int) - two)) <= 1


def test_edges_that_are_followed_are_scored(adapter_runs, trained_run, tmp_path, capsys):
    attached = AdapterOptions(adapters=Adapters(adapter=(str(adapter_runs["control"]),)))
    options = evaluated.Options(
        num=2, batch_size=2, out=str(tmp_path), sampler=Sampler(steps=2), adapters=attached
    )
    evaluated.hints(str(trained_run), options)
    scores = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert scores.keys() == {"hint", "another hint", "base", "held-out images"}
    assert scores["held-out images"] > 0.9 and all(0 <= x <= 1 for x in scores.values())
    assert f"edges of hint: {scores['hint']:.3f}" in capsys.readouterr().out
    (tmp_path / "evaluation.json").unlink()  # the rest may now be anybody's
    with pytest.raises(InputError, match="which this evaluation has not written"):
        evaluated.hints(str(trained_run), options)


def test_an_image_is_inverted_with_the_hint(adapter_runs, trained_run, hint):
    """At scale 0 the noise behind it is that without the adapter."""
    start = {"init_image": str(hint), "invert": True}
    plain = drawn(trained_run, **start)
    run = f"{adapter_runs['control']}:0"
    np.testing.assert_array_equal(drawn(trained_run, run, hint=(str(hint),), **start), plain)


def test_a_window_is_of_whole_steps(trained_run):
    """Step i of K is inside where i / K >= start and (i + 1) / K <= end."""
    process = runs.describe(trained_run).model.process
    times = np.linspace(process.T, 0.0, 11)
    for start, end in ((0.0, 1.0), (0.0, 0.5), (0.25, 0.75), (0.33, 1.0), (0.51, 0.55)):
        first, last = window(times, start, end, process)
        t = np.asarray(process.timestep(times[:-1]))
        wanted = [i / 10 >= start and (i + 1) / 10 <= end + 1e-9 for i in range(10)]
        assert [*((t <= first) & (t >= last))] == wanted, (start, end)


def test_a_window_without_a_step_is_the_base(adapter_runs, trained_run, hint):
    run = adapter_runs["control"]
    found = drawn(trained_run, f"{run}:3@0.6-0.7", hint=(str(hint),))
    np.testing.assert_array_equal(found, drawn(trained_run))


def test_an_adapter_of_another_base_is_refused(adapter_runs, trained_run):
    with pytest.raises(InputError, match="trained on another base, whose weights have the digest"):
        drawn(trained_run / "checkpoints" / "2", str(adapter_runs["style"]))


@pytest.mark.parametrize(
    ("words", "options", "fragment"),
    [
        (["nowhere"], {}, "'nowhere' does not exist"),
        (["{control}:much"], {}, "has the scale 'much': expected a number"),
        (["{control}:nan"], {}, "has the scale 'nan'"),
        (["{control}:1@0.7-0.2"], {}, "shares of the steps"),
        (["{style}:1@0-0.5"], {}, "changes weights: expected a scale alone"),
        (["{style}", "{style}:2"], {}, "two of the name 'style'"),
        (["{base}"], {}, "is a diffusion model: expected the run of an adapter"),
        (["{control}"], {}, "adapter 'control' has no hint: expected --hint IMAGE"),
        (["{control}"], {"hint": ("nowhere.png",)}, "--hint 'nowhere.png' does not exist"),
        (["{style}"], {"hint": ("a.png",)}, "--hint is given without a"),
        (["{style}"], {"guess": True}, "--guess is given without a ControlNet"),
        ([], {"hint": ("a.png",)}, "--hint 'a.png' without --adapter"),
    ],
)
def test_what_is_refused(words, options, fragment, adapter_runs, trained_run):
    words = [word.format(**adapter_runs, base=trained_run) for word in words]
    with pytest.raises(InputError) as error:
        drawn(trained_run, *words, **options)
    assert fragment in str(error.value)


def test_a_word_says_scale_and_steps(tmp_path):
    place = str(tmp_path)
    assert parsed(place) == (place, 1.0, 0.0, 1.0)
    assert parsed(f"{place}:-0.5") == (place, -0.5, 0.0, 1.0)
    assert parsed(f"{place}:0.7@0.2-") == (place, 0.7, 0.2, 1.0)
    assert parsed(f"{place}:0.7@-0.5") == (place, 0.7, 0.0, 0.5)


def test_training_needs_a_base(tmp_path):
    with pytest.raises(InputError, match=r"base is not set: expected the run .*--base RUN"):
        training.train(EXPERIMENT, tmp_path / "run")
