"""evaluate.py bits: what it says of a model's latents, writes, and refuses."""

import csv
import json
from dataclasses import replace

import evaluate as tool
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import runs
from ldm_jax.conditioning.compose import compose
from ldm_jax.config import Diffusion, Inpainting, Label, LowResolution
from ldm_jax.diffusion.prediction import noise_of, v
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.errors import InputError
from ldm_jax.evaluate import bits
from ldm_jax.evaluate.bits import make_likelihood
from tests.support import tiny

M, S, T = 0.3, 0.8, 200  # latents ~ N(M, S^2)


def test_gaussian_latents_cost_their_entropy_by_the_bound_and_by_the_flow():
    """A network that is right about them: the flow is on it, and the bound above it, since its
    steps are few and their variance is not learned."""
    process = Diffusion("cosine", steps=T).build_process()

    def denoise(params, z, steps, cond):
        alpha, sigma = alpha_sigma_like(process, steps + 1, z)
        x0 = M + alpha * S**2 / ((alpha * S) ** 2 + sigma**2) * (z - alpha * M)
        return v.target(x0, noise_of(x0, z, alpha, sigma), alpha, sigma)

    stage = tiny.first_stage(encode=lambda params, images, keys: images, channels=3)
    model = tiny.denoises(denoise, compose([]), stage, process, v)
    latents = M + S * np.random.default_rng(0).normal(size=(64, 4, 4, 3)).astype(np.float32)
    params = {"first_stage": {}, "denoiser": {}, "conditioner": {}}
    measure = make_likelihood(model, flow_steps=60)
    found = measure(params, jnp.asarray(latents), {}, np.arange(64, dtype=np.uint32))
    nats = 0.5 * np.square((latents - M) / S) + np.log(S * np.sqrt(2.0 * np.pi))
    bits = np.mean(nats, axis=(1, 2, 3)) / np.log(2.0)
    np.testing.assert_allclose(np.mean(found["flow"]), np.mean(bits), atol=0.03)
    assert np.mean(bits) < np.mean(found["bound"]) < np.mean(bits) + 1.5
    assert found["bits"].shape == found["x0_error"].shape == (64, T)
    np.testing.assert_allclose(
        found["prior"] + np.sum(found["bits"], axis=1), found["bound"], rtol=1e-4
    )


@pytest.fixture(scope="module")
def measured(class_run, image_folder, tmp_path_factory):
    """Where the bits of a run of labels were written, and what was printed."""
    out = tmp_path_factory.mktemp("measured") / "bits"
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        words = "--num", 8, "--batch-size", 4, "--flow-steps", 4, "--out", out
        tool.main(["bits", *map(str, (class_run, image_folder, *words))])
    return out, "\n".join(said)


def test_the_report_and_the_terms_are_written_and_agree(measured):
    out, _ = measured
    report = json.loads((out / "report.json").read_text())
    with (out / "terms.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["t"]) for row in rows] == list(range(1, 21))
    total = report["prior"]["mean"] + sum(float(row["bits"]) for row in rows)
    np.testing.assert_allclose(total, report["bound"]["mean"], rtol=1e-4)
    snr = [float(row["log_snr"]) for row in rows]
    assert snr == sorted(snr, reverse=True)
    assert report["latents"] == [4, 4, 2]
    assert np.isfinite(report["flow"]["mean"])


def test_it_says_that_these_are_bits_of_latents(measured):
    said = measured[1]
    for part in ("their latents, 4x4x2 values", "not of pixels", "variational bound", "4 steps"):
        assert part in said


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--num", 0], ["--num is 0", "at least 1"]),
        (["--num", 9, "--batch-size", 4], ["--num is 9", "multiple of --batch-size, 4"]),
        (["--num", 32], ["--num is 32", "1 to 16"]),
        (["--probes", 0], ["--probes is 0", "at least 1"]),
        (["--flow-steps", 0], ["--flow-steps is 0", "at least 1"]),
    ],
)
def test_what_cannot_be_measured_is_refused(class_run, image_folder, tmp_path, words, fragments):
    with pytest.raises(InputError) as refusal:
        words = class_run, image_folder, *words, "--out", tmp_path / "out"
        tool.main(["bits", *map(str, words)])
    for fragment in fragments:
        assert fragment in str(refusal.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        (Inpainting(), {"image", "mask"}),
        (LowResolution(factor=2), {"low_resolution"}),
        (Label(num_classes=4, dim=8), {"label"}),
    ],
)
def test_conditions_are_what_the_data_give_as_in_training(
    class_run, image_folder, condition, names
):
    described = runs.describe(class_run)
    experiment = replace(described.experiment, conditions=(condition,))
    described = described._replace(experiment=experiment, model=experiment.build({}))
    options = bits.Options(num=4, batch_size=4)
    image, inputs = next(bits._batches(described, str(image_folder), options))
    assert set(inputs) == names and image.shape == (4, 8, 8, 3)
    assert all(len(x) == 4 for x in inputs.values())
    _, inputs = next(
        bits._batches(described, str(image_folder), replace(options, conditional=False))
    )
    assert inputs == {}


def test_classes_that_mean_others_are_refused(class_run, tmp_path):
    for name in ("red", "pink"):
        tiny.write_folder(tmp_path / name, 8)
        (tmp_path / name / "metadata.jsonl").unlink()
    words = "bits", class_run, tmp_path, "--num", 4, "--batch-size", 4
    with pytest.raises(InputError, match="has the classes pink, red: expected blue, green"):
        tool.main([*map(str, words)])


def test_a_first_stage_has_no_bits_of_latents(trained_run, image_folder):
    with pytest.raises(InputError, match="is a first stage: expected the run of a diffusion model"):
        tool.main(["bits", str(trained_run / "first_stage"), str(image_folder)])
