"""evaluate.py samples and generate: what is compared, reported, refused, and drawn again."""

import json
from pathlib import Path

import evaluate as tool
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sample
from ldm_jax.data.folder import open_folder
from ldm_jax.errors import InputError
from ldm_jax.evaluate import features as extracting
from ldm_jax.evaluate import samples as evaluation
from ldm_jax.evaluate.sets import open_set
from ldm_jax.extractors.extractor import Extractor
from ldm_jax.extractors.resize import tensorflow_bilinear
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.statistics import moments
from ldm_jax.metrics.statistics_file import read_statistics, write_statistics
from ldm_jax.weights.names.extractors import Weights
from tests.support import tiny

RNG = np.random.default_rng(0)
SIZE = (6, 6)
REAL = RNG.integers(60, 200, (40, *SIZE, 3), np.uint8)
FAKE = RNG.integers(0, 256, (30, *SIZE, 3), np.uint8)
DIM = 5


def look(params, x):
    """Features that are linear in the pixels, so that every distance is known."""
    pool = x.reshape(len(x), -1) @ params
    return {"pool": pool, "spatial": pool[:, :2] ** 2, "logits_unbiased": pool * 3}


LINEAR = Extractor(
    name="inception",
    title="a linear network",
    distance="FID",
    main="pool",
    init=lambda key: jnp.zeros((SIZE[0] * SIZE[1] * 3, DIM)),
    prepare=lambda images: images,
    scale=lambda x: tensorflow_bilinear(x, SIZE[0]) / 255.0,
    network=look,
    resize="none",
    size=SIZE[0],
)
PARAMS = np.float32(RNG.normal(size=(SIZE[0] * SIZE[1] * 3, DIM)))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to work in, and an extractor that takes no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extracting, "extractor", lambda name, resize: LINEAR)
    weights = Weights(PARAMS, Path("linear.pth"), "6726825d00")
    monkeypatch.setattr(extracting, "load_extractor", lambda *_: weights)
    return tmp_path


def folder(path: Path, images: np.ndarray, ending="png") -> Path:
    path.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(path / f"{i:04}.{ending}")
    return path


def features(images: np.ndarray) -> np.ndarray:
    return np.asarray(look(PARAMS, np.float32(images) / 255.0)["pool"])


def compare(*words) -> dict:
    tool.main(["samples", *map(str, words), "--batch-size", "8"])
    return json.loads(Path("evaluation/report.json").read_text())


def test_the_distance_is_that_of_the_features_wherever_images_are_kept(here):
    np.savez(here / "fake.npz", arr_0=FAKE)
    report = compare(here / "fake.npz", folder(here / "real", REAL), "--ladder", 0.0, 40.0)
    expected = frechet_distance(moments(features(FAKE)), moments(features(REAL)))
    metrics = report["metrics"]
    assert metrics["FID"] == pytest.approx(expected, rel=1e-5)
    assert {"sFID", "KID", "Inception Score", "precision", "recall", "coverage"} <= metrics.keys()
    assert metrics["KID"]["subset_size"] == 15
    floor = report["context"]["floor"]
    part, rest = features(REAL[::2]), features(REAL[1::2])
    assert (floor["num"], floor["rest"]) == (20, 20)
    assert floor["distance"] == pytest.approx(
        frechet_distance(moments(part), moments(rest)), rel=1e-5
    )
    clean, noisy = report["context"]["ladder"]
    assert clean["distance"] == pytest.approx(floor["distance"], rel=1e-6)
    assert noisy["distance"] > clean["distance"]
    assert (report["samples"]["num"], report["reference"]["num"]) == (30, 40)


def test_a_set_against_itself(here):
    real = folder(here / "real", REAL)
    metrics = compare(real, real, "--copies", "True")["metrics"]
    assert metrics["FID"] == metrics["sFID"] == 0.0
    assert metrics["precision"] == metrics["recall"] == metrics["coverage"] == 1.0
    assert metrics["authenticity"] == 0.0
    assert Path("evaluation/copies.png").exists()


def test_every_image_counts_once_whatever_the_batch(here):
    np.savez(here / "fake.npz", arr_0=FAKE)
    real = folder(here / "real", REAL)
    found = [compare(here / "fake.npz", real)["metrics"]["FID"]]
    tool.main(["samples", "fake.npz", str(real), "--batch-size", "64"])
    found.append(json.loads(Path("evaluation/report.json").read_text())["metrics"]["FID"])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_statistics_replace_the_images_they_are_of(here):
    np.savez(here / "fake.npz", arr_0=FAKE)
    real = folder(here / "real", REAL)
    whole = compare("fake.npz", real, "--save-statistics", "real.npz")["metrics"]
    report = compare("fake.npz", "real.npz")
    assert report["metrics"]["FID"] == whole["FID"]
    assert report["metrics"]["sFID"] == whole["sFID"]
    assert "precision" not in report["metrics"]
    assert report["reference"]["num"] == 40


def test_files_of_pytorch_fid_and_of_adm_are_read_and_written(here):
    np.savez(here / "fake.npz", arr_0=FAKE)
    found = moments(features(REAL))
    np.savez(here / "theirs.npz", mu=found.mean, sigma=found.covariance)
    report = compare("fake.npz", "theirs.npz")
    assert report["metrics"]["FID"] == pytest.approx(
        frechet_distance(moments(features(FAKE)), found), rel=1e-5
    )
    assert any("not known" in flag for flag in report["flags"])
    write_statistics("ours.npz", {"pool": found, "spatial": found}, {"count": 40})
    with np.load("ours.npz") as file:
        assert {"mu", "sigma", "mu_s", "sigma_s"} <= set(file.files)
        np.testing.assert_array_equal(file["sigma_s"], found.covariance)
    assert read_statistics("ours.npz").metadata == {"count": 40}


def test_the_report_names_what_decides_the_numbers(here):
    np.savez(here / "fake.npz", arr_0=FAKE[:, :4, :4])
    report = compare("fake.npz", folder(here / "real", REAL, "jpg"))
    flags = "\n".join(report["flags"])
    for part in (
        "N = 30 samples, fewer than 50000",
        "unequal numbers: 30 samples, 40 real",
        "unequal sizes: samples of 4x4, real images of 6x6",
        "reference are lossy files (JPEG)",
        "were resized from 6x6",
    ):
        assert part in flags
    assert report["extractor"]["published"]
    page = Path("evaluation/report.md").read_text()
    for part in ("FID", "floor: 20 real images against 20 others", "6726825d00", "resize"):
        assert part in page


# What is refused


def refused(*words) -> str:
    with pytest.raises(InputError) as error:
        compare(*words)
    assert "\n" not in str(error.value)
    assert not Path("evaluation").exists()
    return str(error.value)


def test_images_that_do_not_go_together(here):
    real = folder(here / "real", REAL)
    Image.fromarray(FAKE[0, :3]).save(real / "z.png")
    assert "is 6x6 pixels" in refused(real, real)
    assert "z.png 6x3" in refused(real, real)


@pytest.mark.parametrize(
    ("mode", "what"), [("L", "grey"), ("RGBA", "transparent"), ("P", "a palette")]
)
def test_images_that_are_not_rgb(here, mode, what):
    real = folder(here / "real", REAL[:5])
    Image.fromarray(REAL[0]).convert(mode).save(real / "0003.png")
    message = refused(real, real)
    assert f"0003.png is {what}" in message
    assert f"mode {mode}" in message


def test_damaged_files(here):
    real = folder(here / "real", REAL[:5])
    (real / "0002.png").write_bytes(b"no image")
    assert "0002.png cannot be read" in refused(real, real)
    whole = (real / "0001.png").read_bytes()
    (real / "0002.png").write_bytes(whole[: len(whole) - 40])
    assert "0002.png cannot be read" in refused(real, real)
    np.savez(here / "x.npz", arr_0=REAL)
    (here / "cut.npz").write_bytes((here / "x.npz").read_bytes()[:500])
    assert "neither a folder nor an .npz" in refused("cut.npz", "x.npz")


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (REAL / 255.0, "float64 [40, 6, 6, 3]"),
        (np.uint16(REAL), "uint16 [40, 6, 6, 3]"),
        (REAL[..., :1], "uint8 [40, 6, 6, 1]"),
        (np.concatenate([REAL, REAL[..., :1]], axis=-1), "uint8 [40, 6, 6, 4]"),
        (REAL[:0], "uint8 [0, 6, 6, 3]"),
        (REAL[0], "uint8 [6, 6, 3]"),
    ],
)
def test_arrays_of_other_types_and_shapes(here, array, what):
    np.savez(here / "other.npz", arr_0=array)
    expected = f"arr_0 is {what}: expected uint8 [N, H, W, 3], of values 0 to 255"
    assert expected in refused("other.npz", "other.npz")


def test_arrays_that_are_no_images(here):
    np.savez(here / "other.npz", x=REAL)
    assert "expected an .npz with arr_0" in refused("other.npz", "other.npz")
    assert "does not exist" in refused("nowhere", "nowhere")


def test_statistics_of_other_features(here):
    np.savez(here / "fake.npz", arr_0=FAKE)
    np.savez(here / "wide.npz", mu=np.zeros(9), sigma=np.eye(9))
    assert "statistics of 9 features: expected 5" in refused("fake.npz", "wide.npz")
    np.savez(here / "bad.npz", mu=np.zeros(5), sigma=np.eye(4))
    assert "expected [d] and [d, d]" in refused("fake.npz", "bad.npz")
    write_statistics("other.npz", {"pool": moments(features(REAL))}, {"resize": "another"})
    assert "statistics of resize another: expected none" in refused("fake.npz", "other.npz")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mu": np.full(5, np.nan)}, "mu has 5 of 5 values that are not finite"),
        ({"mu": np.full(5, 1e200)}, "mu has 5 of 5 values that are not finite, or beyond"),
        ({"sigma": np.full((5, 5), np.inf)}, "sigma has 25 of 25 values that are not finite"),
        ({"sigma": -np.eye(5)}, "sigma is no covariance: it has eigenvalues below 0"),
        ({"sigma": np.triu(np.full((5, 5), 0.1)) + np.eye(5)}, "it is not symmetric"),
        ({"mu": np.zeros(5, complex)}, "complex128, float64: expected floats"),
        ({"mu": np.array([None] * 5)}, "cannot be read (Object arrays"),
        ({"count": 1}, "count is 1: expected the number of images, 2 or more"),
        ({"resize": np.zeros(2)}, "resize has shape (2,): expected one value"),
        ({"mu_s": np.zeros(9), "sigma_s": np.eye(9)}, "statistics of 9 features: expected 2"),
    ],
)
def test_statistics_that_are_none(here, changed, message):
    np.savez(here / "fake.npz", arr_0=FAKE)
    np.savez(here / "bad.npz", **{"mu": np.zeros(5), "sigma": np.eye(5), **changed})
    for words in (("fake.npz", "bad.npz"), ("bad.npz", "fake.npz")):
        assert message in refused(*words)


def test_what_is_asked_of_statistics_alone(here):
    np.savez(here / "fake.npz", arr_0=FAKE)
    np.savez(here / "theirs.npz", mu=np.zeros(5), sigma=np.eye(5))
    for option in (["--copies"], ["--ladder", "1"]):
        assert f"{option[0]} given with 'theirs.npz'" in refused("fake.npz", "theirs.npz", *option)
    # of statistics whose number of images is not known, what is written says none
    compare("fake.npz", "theirs.npz", "--save-statistics", "again.npz")
    assert "count" not in read_statistics("again.npz").metadata


@pytest.mark.parametrize(("broken", "said"), [("ladder", "numbers of 0 to 255"), ("num", "2")])
def test_options_out_of_range(here, broken, said):
    assert f"expected {said}" in refused("a", "b", f"--{broken}", -1).replace("at least ", "")


def test_a_result_that_is_not_finite_is_not_reported(here, monkeypatch, capsys):
    np.savez(here / "fake.npz", arr_0=FAKE)
    monkeypatch.setattr(evaluation, "frechet_distance", lambda *_: float("nan"))
    with pytest.raises(FloatingPointError, match="metrics, FID is nan"):
        compare("fake.npz", "fake.npz")
    assert "FID" not in capsys.readouterr().out
    assert not list(Path("evaluation").glob("report*"))


def test_the_smallest_sets_that_have_a_covariance(here):
    np.savez(here / "two.npz", arr_0=FAKE[:2])
    np.savez(here / "other.npz", arr_0=REAL[:2])
    metrics = compare("two.npz", "other.npz", "--copies")["metrics"]
    assert metrics["FID"] > 0.0 and "KID" not in metrics and "Inception Score" not in metrics
    np.savez(here / "twice.npz", arr_0=np.repeat(REAL[:2], 2, axis=0))
    nearest = compare("two.npz", "twice.npz", "--copies")["metrics"]["nearest"]
    assert nearest == {"median ratio": None, "smallest ratios": [None, None]}  # infinite


# Which files are images of a set


def test_a_folder_has_the_images_that_training_has(here):
    real = folder(here / "real" / "a", REAL[:4]).parent
    folder(here / "elsewhere", REAL[4:6])
    (real / "linked").symlink_to(here / "elsewhere")
    folder(real / ".ipynb_checkpoints", REAL[:3])
    (real / "a" / "._0000.png").write_bytes(bytes(120))
    (real / "__MACOSX").mkdir()
    (real / "__MACOSX" / "0000.png").write_bytes(bytes(120))
    (real / "a" / "Thumbs.db").write_bytes(bytes(12))
    (real / "notes.txt").write_text("of no image")
    found = open_set(str(real))
    source = open_folder(str(real), split="train", caption="text", label="label")
    assert found.count == len(source) == found.facts["images"] == 6
    np.testing.assert_array_equal(np.concatenate(list(found.batches(6, 4))), REAL[:6])
    for part in ("2 hidden (.ipynb_checkpoints/, ", "2 of the system", "1 .txt (notes.txt)"):
        assert part in found.facts["left_out"]
    page = compare(real, real) and Path("evaluation/report.md").read_text()
    assert "- images: 6" in page and "- left_out: 2 hidden" in page


def test_an_image_is_upright_as_in_training(here):
    folder(here / "real", REAL[:2, :4])
    turned, exif = Image.fromarray(np.rot90(REAL[2, :4], 3)), Image.Exif()
    exif[0x0112] = 8
    turned.save(here / "real" / "x.png", exif=exif)
    found = open_set("real")
    assert found.size == (4, 6)
    np.testing.assert_array_equal(next(found.batches(3, 3))[2], REAL[2, :4])


def test_of_a_folder_without_images_is_said_what_was_left_out(here):
    (here / "real").mkdir()
    (here / "real" / "._a.png").write_bytes(b"")
    assert "'real' has no images" in (message := refused("real", "real"))
    assert "left out are 1 hidden (._a.png)" in message


def test_a_run_is_no_reference(class_run):
    assert f"expected data:{class_run}" in refused(class_run, class_run)


def test_numbers_that_there_are_not(here):
    np.savez(here / "one.npz", arr_0=FAKE[:1])
    np.savez(here / "fake.npz", arr_0=FAKE)
    assert "the images of 'one.npz' are 1: expected at least 2" in refused("one.npz", "fake.npz")
    assert "--num is 31: expected 2 to 30" in refused("fake.npz", "fake.npz", "--num", 31)


# Samples of a run


def test_what_is_drawn_in_shards_is_what_sampling_draws_and_goes_on(class_run, here):
    words = ["generate", str(class_run), "--num", "10", "--draw-batch", "2", "--shard-size", "4"]
    tool.main([*words, "--out", "whole"])
    files = sorted(Path("whole").glob("shard-*.npz"))
    assert [len(np.load(file)["arr_0"]) for file in files] == [4, 4, 2]
    labels = np.concatenate([np.load(file)["arr_1"] for file in files])
    np.testing.assert_array_equal(labels, np.arange(10) % len(tiny.COLORS))
    expected = np.concatenate([np.load(file)["arr_0"] for file in files])
    files[1].unlink()
    files[2].unlink()
    tool.main([*words, "--out", "whole"])
    found = np.concatenate([np.load(file)["arr_0"] for file in files])
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match="samples of another request"):
        tool.main([*words, "--out", "whole", "--steps", "2"])


@pytest.mark.parametrize("name", ["shard-00000.npz", "report.json", "grid.png"])
def test_what_the_user_has_in_a_folder_is_not_written_over(class_run, here, name):
    (here / "mine").mkdir()
    (here / "mine" / name).write_text("{}")
    np.savez(here / "fake.npz", arr_0=FAKE)
    with pytest.raises(InputError, match=f"--out 'mine' has '{name}', which this"):
        tool.main(["generate", str(class_run), "--num", "2", "--out", "mine"])
    if name == "report.json":  # such as that of sample.py
        assert "'mine' has 'report.json'" in refused("fake.npz", "fake.npz", "--out", "mine")
    assert "exists" in refused("fake.npz", "fake.npz", "--save-statistics", "fake.npz")
    assert [path.read_text() for path in (here / "mine").iterdir()] == ["{}"]


def test_a_run_is_sampled_and_its_settings_reported(class_run, here):
    words = "--num", 6, "--draw-batch", 2, "--labels", "random", "--steps", 2, "--guidance", 1.5
    report = compare(class_run, f"data:{class_run}", *words)
    drawn = report["samples"]["generated"]
    assert (drawn["steps"], drawn["guidance"], drawn["labels"]) == (2, 1.5, "random")
    assert drawn["autoencoder"]["kind"] == "KLAutoencoder"
    assert drawn["weights"] == "ema"
    assert report["reference"]["preparation"].startswith("shorter side to 8 pixels")
    assert report["reference"]["format"] == "PNG"
    assert np.isfinite(report["metrics"]["FID"])


def test_what_sample_py_drew_is_named_by_its_report(class_run, here):
    words = "--label 0 1 --num 3 --steps 2 --spacing karras --guidance 1.5 --seed 4 --out drawn"
    sample.main([str(class_run), *words.split()])
    drawn = open_set("drawn").facts["generated"]
    assert (drawn["sampler"], drawn["steps"], drawn["spacing"]) == ("ddim", 2, "karras")
    assert (drawn["guidance"], drawn["seed"], drawn["labels"]) == (1.5, 4, "2 labels, cycled")
    assert drawn["run"] == str(class_run) and drawn["autoencoder"]["channels"]


def test_a_report_of_before_requests_had_sections_is_read(here):
    folder(here / "old", FAKE)
    options = {"sampler": "heun", "steps": 3, "grid": "karras", "guidance": 2.0, "eta": None}
    report = {"run": "r", "prompts": ["a", "b"], "config": {"optim": {"ema_decay": 0.9}}, **options}
    (here / "old" / "report.json").write_text(json.dumps(report))
    assert open_set("old").facts["generated"] == {
        **{"run": "r", "sampler": "heun", "steps": 3, "spacing": "karras", "guidance": 2.0},
        **{"ema_decay": 0.9, "autoencoder": None, "labels": "2 prompts, cycled"},
    }


def test_shards_are_one_set(class_run, here):
    for n in range(3):
        (here / "shards").mkdir(exist_ok=True)
        np.savez(here / "shards" / f"shard-{n:05}.npz", arr_0=FAKE[10 * n : 10 * n + 10])
    found = open_set("shards")
    assert (found.count, found.size) == (30, SIZE)
    np.testing.assert_array_equal(np.concatenate(list(found.batches(30, 7))), FAKE)
    np.testing.assert_array_equal(np.concatenate(list(found.batches(10, 4))), FAKE[::3])
