"""sample.py's guidance: classifiers, composition, RePaint, inversion; what goes with what."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sample
from ldm_jax import checkpoint, runs
from ldm_jax.config import Classifier, ClassifierExperiment, Diffusion
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.train_step.classifier import classifier_objective
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import new_state
from tests.support import tiny

CLASSES = sorted(tiny.COLORS)


@pytest.fixture(scope="module")
def write_classifier(class_run, tmp_path_factory):
    """Writes the run of a classifier with random weights, of the latents of `class_run`."""
    guided = runs.load(class_run)
    classifier = Classifier(8, (1,), 1, (), head_channels=4, norm_groups=4)

    def write(scale=1.0, **changes) -> Path:
        run = tmp_path_factory.mktemp("runs") / "classifier"
        of_guided = guided.experiment
        experiment = ClassifierExperiment(
            diffusion_run=str(class_run),
            model=classifier,
            num_classes=len(CLASSES),
            first_stage=of_guided.first_stage,
            diffusion=of_guided.diffusion,
            data=of_guided.data,
        )
        experiment = replace(experiment, **changes)
        model = experiment.build()
        first_stage = guided.params["first_stage"]
        first_stage = {**first_stage, "scale": scale * first_stage["scale"]}
        params = {**tiny.drawn(model.init), "first_stage": first_stage}
        objective = classifier_objective(model)
        state = new_state(params, optimizer(experiment.optim, 1, objective.trained), objective)
        source, info = pipeline.open_source(experiment.data)
        runs.write(run, experiment, {}, info)
        with checkpoint.manager(run) as saves:
            data = pipeline.batches(experiment.data, source, seed=0, keys=("label",))
            checkpoint.save(saves, state, data)
        return run

    return write


@pytest.fixture(scope="module")
def classifier_run(write_classifier):
    return write_classifier()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """An image of the model's size, and a mask of its right half."""
    folder = tmp_path_factory.mktemp("given")
    pixels = np.full((tiny.SIZE, tiny.SIZE, 3), 255, np.uint8)
    pixels[: tiny.SIZE // 2] = tiny.COLORS["blue"]
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[:, tiny.SIZE // 2 :] = 255
    for name, image in (("image", pixels), ("mask", mask)):
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder / "image.png", folder / "mask.png"


def draw(run: Path, out: Path, *words) -> tuple[np.ndarray, dict]:
    """What sample.py draws for these words, int [N, H, W, 3], and its report."""
    sample.main([*map(str, (run, "--out", out, "--batch-size", 2, *words))])
    with np.load(out / "samples.npz") as file:
        (images,) = file.values()
    return images.astype(int), tiny.flat(json.loads((out / "report.json").read_text()))


def apart(a, b) -> float:
    return float(np.mean(np.abs(a - b)))


def refused(run: Path, out: Path, *words) -> str:
    """Why sample.py refuses these words, of which nothing is written."""
    with pytest.raises(InputError) as refusal:
        sample.main([*map(str, (run, "--out", out, *words))])
    assert not out.exists()
    return str(refusal.value)


def says(message: str, fragments: list[str]) -> None:
    for fragment in fragments:
        assert fragment in message


# A classifier

WORDS = "--num", 2, "--label", "red", "--guidance", 1


def test_a_classifier_moves_images_by_its_scale(class_run, classifier_run, tmp_path, capsys):
    """On top of whatever guidance there is: a scale of 0 leaves it as it was."""
    plain, _ = draw(class_run, tmp_path / "plain", *WORDS)
    capsys.readouterr()
    judged = *WORDS, "--classifier", classifier_run
    none, report = draw(class_run, tmp_path / "none", *judged, "--classifier-scale", 0)
    says(capsys.readouterr().out, [f"classifier {classifier_run}, scale 0"])
    assert (report["classifier"], report["classifier_scale"]) == (str(classifier_run), 0.0)
    assert np.max(np.abs(none - plain)) <= 1
    some, report = draw(class_run, tmp_path / "some", *judged, "--classifier-scale", 5)
    assert report["label"] == [CLASSES.index("red")]
    assert apart(some, plain) > 1.0


def test_captions_and_a_classifier_guide_together(trained_run, classifier_run, tmp_path):
    """Its latents are checked first: those of another run are other latents."""
    words = "--prompt", "a red block at the top", "--label", "red", "--classifier", classifier_run
    message = refused(trained_run, tmp_path / "out", *words)
    says(message, ["another scale", str(classifier_run)])


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"scale": 1.1}, ["was trained on latents of another scale", "--diffusion-run"]),
        (
            {"diffusion": Diffusion("linear", steps=20)},
            ["noise of another process (linear of 20 steps; the model's is cosine of 20 steps)"],
        ),
        ({"diffusion": Diffusion("cosine", steps=30)}, ["another process (cosine of 30 steps;"]),
        ({"num_classes": 5}, ["tells other classes apart, 5 (", "than the model draws, 4 ("]),
    ],
    ids=["scale", "schedule", "steps", "classes"],
)
def test_a_classifier_of_other_things_is_refused(
    class_run, write_classifier, tmp_path, changes, fragments
):
    words = "--classifier", write_classifier(**changes)
    says(refused(class_run, tmp_path / "out", *words), fragments)


def test_what_is_no_classifier_is_refused_as_one(class_run, trained_run, classifier_run, tmp_path):
    out = tmp_path / "out"
    says(refused(class_run, out, "--classifier", trained_run), ["expected the run of a classifier"])
    says(refused(classifier_run, out), ["is a classifier: expected the run of a diffusion model"])
    message = refused(trained_run, out, "--label", "red")
    says(message, ["--label 'red'", "captions", "--classifier RUN"])


# Composition


def test_one_prompt_composed_is_guidance_to_it(trained_run, tmp_path, capsys):
    prompt = "a red block at the top"
    plain, _ = draw(trained_run, tmp_path / "a", "--num", 2, "--prompt", prompt, "--guidance", 3)
    words = "--num", 2, "--compose", prompt, "--guidance", 1.5, "--compose-weights", 2
    composed, report = draw(trained_run, tmp_path / "b", *words)
    assert np.max(np.abs(composed - plain)) <= 1
    assert (report["compose"], report["compose_weights"]) == ([prompt], [2.0])
    says(capsys.readouterr().out, [f"composed of '{prompt}' times 2"])


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--prompt", "c"], ["--compose 'a' and --prompt do not go together"]),
        (["--negative-prompt", "c"], ["--compose 'a' and --negative-prompt"]),
        (["--guidance-rescale", 0.5], ["--compose 'a' and --guidance-rescale"]),
        (["--guidance-interval", 0, 1], ["--compose 'a' and --guidance-interval"]),
        (["--guidance-schedule", "linear"], ["--compose 'a' and --guidance-schedule"]),
        (["--compose-weights", 1], ["--compose-weights is 1: expected 2 numbers"]),
    ],
)
def test_what_does_not_go_with_composition_says_so(trained_run, tmp_path, words, fragments):
    words = "--compose", "a", "b", *words
    says(refused(trained_run, tmp_path / "out", *words), fragments)


# RePaint


def test_repaint_inpaints_the_masked_part_and_keeps_the_rest(class_run, photo, tmp_path, capsys):
    image, mask = photo
    words = "--num", 2, "--label", "red", "--init-image", image, "--mask", mask
    plain, _ = draw(class_run, tmp_path / "plain", *words)
    words = *words, "--resample", 3, "--jump-length", 1
    images, report = draw(class_run, tmp_path / "more", *words)
    half = tiny.SIZE // 2
    given = np.asarray(Image.open(image)).astype(int)
    assert np.max(np.abs(images[:, :, :half] - given[:, :half])) == 0
    assert apart(images[:, :, half:], plain[:, :, half:]) > 1.0
    assert (report["resample"], report["jump_length"]) == (3, 1)
    # 4 steps down, and each but the noisiest twice more down and up
    says(capsys.readouterr().out, ["RePaint, 1 steps at a time, each 3 times: 16 in all"])


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--resample", 0], ["--resample is 0", "at least 1"]),
        (["--jump-length", 2], ["--jump-length 2 without --resample"]),
        (["--resample", 2, "--jump-length", 4], ["--jump-length is 4", "less than the 4 steps"]),
        (["--invert"], ["--invert and --mask do not go together"]),
    ],
)
def test_what_does_not_go_with_a_mask_says_so(class_run, photo, tmp_path, words, fragments):
    words = "--init-image", photo[0], "--mask", photo[1], *words
    says(refused(class_run, tmp_path / "out", *words), fragments)


# Inversion


def test_the_noise_behind_an_image_is_written_and_leads_to_what_was_drawn(
    class_run, photo, tmp_path, capsys
):
    steps = "--label", "red", "--num", 2, "--guidance", 0
    given = "--init-image", photo[0], "--invert"
    images, report = draw(class_run, tmp_path / "a", *steps, *given)
    says(capsys.readouterr().out, ["the noise behind", "DDIM inversion, no condition"])
    assert (report["invert"], report["source"], report["strength"]) == (True, None, None)
    again, _ = draw(class_run, tmp_path / "b", *steps, "--latents", tmp_path / "a" / "latents.npy")
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(images[0], images[1])  # of whatever seed


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--eta", 1], ["--invert with ddim, which draws noise", "--eta 0", "plms"]),
        (["--sampler", "ddpm"], ["--invert with ddpm", "expected one of ddim, plms, euler, heun"]),
        (["--sampler", "heun", "--s-churn", 2], ["--invert with heun", "--s-churn 0"]),
        (["--strength", 0.5], ["--invert and --strength do not go together"]),
        (["--latents", "z.npy"], ["--invert and --latents"]),
        (["--source", "pink"], ["label 'pink' is out of range"]),
    ],
)
def test_what_does_not_go_with_inversion_says_so(class_run, photo, tmp_path, words, fragments):
    words = "--init-image", photo[0], "--invert", *words
    says(refused(class_run, tmp_path / "out", *words), fragments)


def test_a_source_without_inversion_is_refused(class_run, photo, tmp_path):
    words = "--init-image", photo[0], "--source", "red"
    says(refused(class_run, tmp_path / "out", *words), ["--source 'red' without --invert"])
