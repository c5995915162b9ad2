"""sample.py: what it refuses, what it writes, and to which seed an image belongs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sample
from ldm_jax import cli, runs
from ldm_jax import sampling as request
from ldm_jax.diffusion import sampling, spacing
from ldm_jax.diffusion.samplers.names import SAMPLERS, build_sampler
from ldm_jax.sampling.sampler import settings
from tests.support import tiny

TOOL = Path(__file__).parents[2] / "sample.py"
README = TOOL.with_name("README.md")

CLASSES = sorted(tiny.COLORS)  # blue, green, grey, red
LATENT = (4, 4, 2)  # of one image


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder within, with its time and size."""
    paths = sorted(folder.rglob("*"))
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size if p.is_file() else 0) for p in paths}


# Bad input


@pytest.fixture
def refusal(here, class_run, trained_run, monkeypatch, capsys):
    """Calls sample.py with words it must refuse; the one line that it says."""

    def call(*words) -> str:
        monkeypatch.setattr(sys, "argv", ["sample.py", *map(str, words)])
        places = here, class_run, trained_run
        before = [contents(place) for place in places]
        with pytest.raises(SystemExit) as stop:
            cli.main(sample.main)
        out, err = capsys.readouterr()
        assert stop.value.code == 2
        assert all(line.startswith("data: ") for line in out.splitlines())
        assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1
        assert [contents(place) for place in places] == before
        return err

    return call


def says(message: str, fragments: list[str]) -> None:
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("--label 12", ["label '12' is out of range", "0 to 3", "blue, green, grey, red"]),
        ("--label 4", ["label '4' is out of range", "0 to 3"]),
        ("--label -1", ["label '-1' is out of range", "0 to 3"]),
        ("--label red pink", ["label 'pink' is out of range", "blue, green, grey, red"]),
        ("--prompt cat", ["--prompt 'cat'", "class labels", "conditions=(Text(),)"]),
        ("--num 0", ["--num is 0", "at least 1"]),
        ("--num -3", ["--num is -3", "at least 1"]),
        ("--num few", ["--num is 'few'", "whole number"]),
        ("--num 2.5", ["--num is '2.5'", "whole number"]),
        ("--seed -1", ["--seed is -1", "expected 0 to"]),
        ("--seed 4294967295", ["--seed is 4294967295", "expected 0 to"]),
        ("--steps 0", ["--steps is 0", "1 to 20"]),
        ("--steps -1", ["--steps is -1", "1 to 20"]),
        ("--steps 21", ["--steps is 21", "1 to 20"]),
        ("--eta 1.1", ["--eta is 1.1", "0 (DDIM) to 1 (DDPM)"]),
        ("--eta -0.1", ["--eta is -0.1", "0 (DDIM) to 1 (DDPM)"]),
        ("--eta nan", ["--eta is nan", "0 (DDIM) to 1 (DDPM)"]),
        ("--guidance inf", ["--guidance is inf", "a finite number"]),
        ("--guidance big", ["--guidance is 'big'", "a number"]),
        ("--batch-size 0", ["--batch-size is 0", "positive multiple"]),
        (
            "--eta 0 --sampler ddpm",
            ["--eta is 0", "ddpm does not take", "ddim, euler_anc"],
        ),
        ("--eta 0.5 --sampler heun", ["--eta is 0.5, which heun does not take", "dpmpp_2m_sde"]),
        ("--s-churn 20", ["--s-churn is 20, which ddim does not take", "euler or heun"]),
        ("--s-noise 1 --sampler unipc", ["--s-noise is 1, which unipc does not take"]),
        ("--s-churn -1 --sampler heun", ["--s-churn is -1", "0 or more"]),
        ("--s-tmax inf --sampler heun", ["--s-tmax is inf", "0 or more"]),
        ("--times 20 10 --steps 3", ["--times 20 and --steps", "leave one of them out"]),
        ("--times 20 10 --spacing karras", ["--times 20 and --spacing"]),
        ("--times 10 20", ["time 20 follows 10", "decrease"]),
        ("--times 21 10", ["time 21 is out of range", "to 20 (noise)"]),
        ("--times late", ["--times", "'late'"]),
        ("--sampler dimm", ["--sampler", "'dimm'", "'ddim'"]),
        ("--spacing even", ["--spacing", "'even'", "'trailing'"]),
        ("--tile 1", ["--tile is 1", "at least 2"]),
        (
            "--negative-prompt cat",
            ["--negative-prompt 'cat'", "class labels", "conditions=(Text(),)"],
        ),
        ("--guidance-rescale 1.5", ["--guidance-rescale is 1.5", "0 to 1"]),
        ("--guidance-rescale 0.5 --guidance 1", ["does nothing", "--guidance other than 1"]),
        ("--guidance-interval 3 1", ["--guidance-interval is 3 1", "lower first"]),
        ("--guidance-interval 3", ["--guidance-interval is 3", "two levels"]),
        ("--dynamic-threshold 0", ["--dynamic-threshold is 0", "more than 0"]),
        ("--guidance-schedule step", ["--guidance-schedule", "'step'", "'cosine'"]),
        ("--guidance-schedule linear --guidance 1", ["does nothing", "--guidance other than 1"]),
        ("--compose cat", ["--compose 'cat'", "class labels", "conditions=(Text(),)"]),
        ("--compose-weights 1", ["--compose-weights", "class labels"]),
        ("--classifier-scale 2", ["--classifier-scale 2", "--classifier: expected both"]),
        ("--classifier no", ["run 'no' does not exist"]),
        ("--resample 3", ["--resample 3 without", "--mask"]),
        ("--jump-length 3", ["--jump-length 3 without", "--resample"]),
        ("--invert", ["--invert without", "--init-image"]),
        ("--source red", ["--source 'red' without --invert"]),
        ("--strength 0.5", ["--strength 0.5", "--init-image"]),
        ("--mask m.png", ["--mask 'm.png' without", "--init-image"]),
        ("--init-image no.png", ["--init-image 'no.png' does not exist"]),
        ("--init-image no.png --strength 2", ["--strength is 2", "at most 1"]),
        ("--init-image no.png --strength 0.2", ["--strength is 0.2", "0.25", "4 steps"]),
        ("--stpes 3", ["--stpes is not a setting", "'--steps'"]),
        ("--temperature 3", ["--temperature is not a setting"]),
        ("--steps", ["--steps has no value"]),
        ("surplus", ["'surplus'", "one word too many"]),
        ("--latents no.npy", ["latents 'no.npy' cannot be read", "(4, 4, 4, 2)"]),
        ("--interpolate 3", ["--interpolate is 3", "--to-seed", "configs/vae.py"]),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_by_name(refusal, class_run, words, fragments):
    says(refusal(class_run, *words.split()), fragments)


@pytest.mark.parametrize(
    ("array", "fragments"),
    [
        (np.zeros((3, *LATENT)), ["(3, 4, 4, 2)", "expected (2, 4, 4, 2) for --num 2"]),
        (np.zeros((2, 4, 4, 3)), ["(2, 4, 4, 3)", "expected (2, 4, 4, 2) for --num 2"]),
        (np.zeros(LATENT), ["(4, 4, 2)", "expected (2, 4, 4, 2) for --num 2"]),
        (np.full((2, *LATENT), "0"), ["a .npy of real numbers", "<U1"]),
        (np.full((2, *LATENT), np.nan), ["a .npy of real numbers", "not finite"]),
        (np.zeros((2, *LATENT), complex), ["a .npy of real numbers", "complex128"]),
        (np.full((2, *LATENT), None), ["a .npy of real numbers"]),
        (None, ["a .npy of real numbers"]),
    ],
    ids=["number", "channels", "one", "text", "nan", "complex", "objects", "nothing"],
)
def test_latents_that_do_not_fit_are_refused(refusal, class_run, here, array, fragments):
    (here / "z.npy").write_bytes(b"")
    if array is not None:
        np.save(here / "z.npy", array)
    says(refusal(class_run, "--num", 2, "--latents", "z.npy"), ["latents 'z.npy'", *fragments])


def test_a_label_for_a_model_of_captions_is_refused(refusal, trained_run):
    says(refusal(trained_run, "--label", 0), ["--label '0'", "captions", "conditions=(Label(),)"])


def test_a_folder_that_is_no_trained_model_is_refused(refusal, class_run, trained_run, here):
    says(refusal(), ["no run", "sample.py RUN"])
    says(refusal("--num", 3), ["no run", "sample.py RUN"])
    says(refusal("nowhere"), ["run 'nowhere' does not exist", "train.py"])
    says(refusal(README), [f"'{README}' is not a run", "scripts/convert.py"])
    says(refusal(TOOL), [f"'{TOOL}' has no Cascade", "config = Cascade(...)"])
    says(refusal(here), [f"'{here}' is not a run", "no config.py", "train.py"])
    first_stage = trained_run / "first_stage"
    says(refusal(first_stage), [f"run '{first_stage}' is a first stage", "configs/demo.py"])
    shutil.copy(class_run / "config.py", here)
    says(refusal(here), [f"run '{here}' has no checkpoint", "train.py"])
    (here / "config.py").write_text("config = Experiment(")
    says(refusal(here), [f"'{here / 'config.py'}'", "cannot be parsed"])


def test_a_tokenizer_that_is_damaged_or_gone_is_named(refusal, trained_run, here):
    run = Path(shutil.copytree(trained_run, here / "copy"))
    file = run / "tokenizer.json"
    file.write_text(file.read_text()[:50])
    says(refusal(run), [f"tokenizer '{file}'"])
    file.unlink()
    says(refusal(run), [f"run '{run}' has no tokenizer.json", "--tokenizer"])


def test_a_checkpoint_that_does_not_fit_the_config_is_refused(refusal, class_run, here):
    run = Path(shutil.copytree(class_run, here / "copy"))
    text = (run / "config.py").read_text()
    (run / "config.py").write_text(text.replace("dim=8", "dim=12"))
    message = refusal(run)
    says(message, [f"run '{run}'", "another architecture", "(5, 8) there and (5, 12) here"])
    shutil.copy(class_run / "config.py", run)
    shutil.rmtree(run / "checkpoints" / "0" / "params")
    says(refusal(run), [f"'{run / 'checkpoints' / '0'}' cannot be read", "params"])


def test_a_file_in_place_of_the_folder_to_write_to_is_refused(refusal, class_run, here):
    (here / "file").write_text("")
    says(refusal(class_run, "--out", "file"), ["--out 'file'", "is a file"])


@pytest.mark.process
def test_the_exit_status_is_2_and_standard_error_is_one_line(class_run, here):
    """The tool itself."""
    before = contents(class_run)
    words = class_run, "--label", "12"
    done = subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: label '12' is out of range: expected 0 to 3, or one of blue, green, grey, red\n"
    )
    assert contents(class_run) == before
    assert not contents(here)


# What is right


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["run", "--help"]])
def test_help_is_no_error(words, capsys):
    with pytest.raises(SystemExit) as stop:
        sample.main(words)
    assert not stop.value.code
    help_text = capsys.readouterr().out
    for name in (
        "--num",
        "--seed",
        "--steps",
        "--prompt",
        "--label",
        "--latents",
        "--tile",
        "--out",
        "--times",
        "--eta",
        "--s-churn",
        "--negative-prompt",
        "--guidance-interval",
        "--init-image",
        "--mask",
        "images options",
        "sampler options",
        "guidance options",
        *spacing.SPACINGS,
    ):
        assert name in help_text
    for name, kind in SAMPLERS.items():
        assert f"{name}: {kind.paper[:12]}" in help_text


def draw(run: Path, out: Path, *words) -> tuple[np.ndarray, dict]:
    """What sample.py draws for these words, uint8 [N, H, W, 3], and its report."""
    sample.main([*map(str, (run, "--out", out, "--batch-size", 4, *words))])
    with np.load(out / "samples.npz") as file:
        (images,) = file.values()
    return images, tiny.flat(json.loads((out / "report.json").read_text()))


@pytest.fixture(scope="module")
def drawn(class_run, tmp_path_factory):
    """Six images of one class from seed 3 on: where, the images, the report."""
    out = tmp_path_factory.mktemp("drawn") / "deep" / "folder"
    return out, *draw(class_run, out, "--num", 6, "--seed", 3, "--label", "red", "--eta", 0.5)


def test_images_a_grid_an_archive_and_a_report_are_written(drawn, capsys):
    out, images, report = drawn
    assert {file.name for file in out.iterdir()} == {
        *(f"{i:06d}.png" for i in range(6)), "grid.png", "samples.npz", "report.json"
    }  # fmt: skip
    assert images.shape == (6, tiny.SIZE, tiny.SIZE, 3)
    assert images.dtype == np.uint8
    for i, image in enumerate(images):
        np.testing.assert_array_equal(np.asarray(Image.open(out / f"{i:06d}.png")), image)
    width, height = Image.open(out / "grid.png").size
    assert width >= 3 * tiny.SIZE
    assert height >= 2 * tiny.SIZE
    assert {name: report[name] for name in ("num", "seed", "label", "eta")} == {
        "num": 6, "seed": 3, "label": [CLASSES.index("red")], "eta": 0.5
    }  # fmt: skip


def test_images_differ_from_seed_to_seed(drawn):
    _, images, _ = drawn
    assert len({image.tobytes() for image in images}) == 6


def test_a_folder_holds_the_images_of_the_last_command_alone(drawn, class_run, here):
    out = here / "again"
    shutil.copytree(drawn[0], out)
    (out / "notes.png").touch()
    images, _ = draw(class_run, out, "--num", 2, "--label", "red")
    names = {"000000.png", "000001.png", "grid.png", "samples.npz", "report.json", "notes.png"}
    assert {file.name for file in out.iterdir()} == names
    np.testing.assert_array_equal(np.asarray(Image.open(out / "000001.png")), images[1])


def test_the_settings_of_a_report_draw_the_same_images_again(drawn, here):
    _, images, report = drawn
    names = "num", "seed", "steps", "sampler", "spacing", "eta", "guidance"
    words = [word for name in names for word in (f"--{name}", report[name])]
    again, second = draw(Path(report["run"]), here, *words, "--label", *report["label"])
    np.testing.assert_array_equal(again, images)
    assert second == report


def test_an_image_belongs_to_its_seed_whatever_else_is_drawn(drawn, class_run, here):
    """Image i of seed S is image 0 of seed S + i, in a batch of any size."""
    _, images, _ = drawn
    words = "--num", 3, "--seed", 5, "--label", CLASSES.index("red"), "--eta", 0.5
    part, _ = draw(class_run, here, *words)
    np.testing.assert_array_equal(part, images[2:5])
    part, _ = draw(class_run, here, *words, "--batch-size", 1)
    np.testing.assert_allclose(part.astype(int), images[2:5].astype(int), atol=1)


def test_what_is_used_is_printed(class_run, here, capsys):
    words = "--num", 1, "--sampler", "heun", "--spacing", "karras", "--steps", 3, "--s-churn", 6
    _, report = draw(class_run, here, *words)
    line = capsys.readouterr().out.splitlines()[0]
    says(line, ["heun (Karras", "3 steps over karras spacing", "s_churn 6", "guidance 2"])
    assert "eta" not in line
    asked = {"sampler": "heun", "spacing": "karras", "steps": 3, "s_churn": 6.0, "s_tmin": 0.0}
    assert {name: report[name] for name in asked} == asked
    assert report["eta"] is report["s_tmax"] is None


def test_times_take_the_place_of_a_grid(class_run, here, capsys):
    words = "--num", 2, "--label", "red", "--eta", 0
    by_name, _ = draw(class_run, here / "a", *words, "--spacing", "trailing", "--steps", 4)
    by_hand, report = draw(class_run, here / "b", *words, "--times", 20, 15, 10, 5)
    np.testing.assert_array_equal(by_hand, by_name)
    says(capsys.readouterr().out, ["4 steps over trailing spacing", "4 steps over given times"])
    assert (report["times"], report["steps"], report["spacing"]) == ([20, 15, 10, 5], 4, None)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_request_holds_all_that_its_sampler_takes_and_nothing_else(class_run, name):
    wanted = settings(request.resolve(runs.describe(class_run), sampler=name))
    taken = {option: getattr(wanted, option) for option in sampling.OPTIONS}
    own = SAMPLERS[name].options
    assert taken == {option: own.get(option) for option in sampling.OPTIONS}
    build_sampler(name)(**sampling.arguments(wanted))
    assert sampling.describe(wanted).startswith(f"{name} ({SAMPLERS[name].paper}): 4 steps over")


def test_labels_are_names_or_numbers_taken_in_turn(drawn, class_run, here):
    _, images, _ = drawn
    words = "--label", 0, "red", "2", "--seed", 3, "--eta", 0.5
    turns, report = draw(class_run, here, *words, "--num", 4)
    assert report["label"] == [0, CLASSES.index("red"), 2]
    same = [bool(np.all(turn == image)) for turn, image in zip(turns, images, strict=False)]
    assert same == [False, True, False, False]  # only the second is red


def test_the_given_latents_are_where_sampling_starts(class_run, here):
    z = np.random.default_rng(0).normal(size=LATENT)
    np.save(here / "z.npy", np.stack([z, z, -z]))
    words = "--num", 3, "--label", "red", "--eta", 0, "--latents", "z.npy"
    images, report = draw(class_run, here / "out", *words)
    np.testing.assert_array_equal(images[0], images[1])
    assert np.any(images[0] != images[2])
    assert report["latents"] == "z.npy"


def test_decoding_by_tiles_is_reported_and_changes_images_a_little(drawn, class_run, here, capsys):
    _, images, _ = drawn
    words = "--num", 2, "--seed", 3, "--label", "red", "--eta", 0.5, "--tile", 3
    found, report = draw(class_run, here, *words)
    assert "tiles: 4 of 3x3 latents (6x6 pixels) an image of 4x4" in capsys.readouterr().out
    assert report["tile"] == 3
    assert found.shape == images[:2].shape
    apart = np.abs(found.astype(int) - images[:2]).mean()
    unlike = np.abs(images[1].astype(int) - images[0]).mean()
    assert 0.0 < apart < unlike


def test_prompts_are_cycled_and_the_run_is_the_folder_unless_given(trained_run, here):
    """From training to images; without --out they are in the run, without --num one each."""
    run = Path(shutil.copytree(trained_run, here / "copy"))
    prompts = "a red block at the top", "a blue block at the bottom"
    sample.main([str(run), "--prompt", *prompts, "--seed", "2", "--batch-size", "4"])
    out = run / "samples-seed2"
    assert (out / "000001.png").exists()
    assert not (out / "000002.png").exists()
    report = tiny.flat(json.loads((out / "report.json").read_text()))
    assert report["prompt"] == list(prompts)
    assert report["checkpoint"] == 4


# From an image


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """An image twice as large as the model's, and a mask of its right half."""
    folder = tmp_path_factory.mktemp("given")
    pixels = np.zeros((2 * tiny.SIZE, 2 * tiny.SIZE, 3), np.uint8)
    pixels[..., 0], pixels[tiny.SIZE :, :, 1] = 200, 90
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[:, tiny.SIZE :] = 255
    for name, image in (("image", pixels), ("mask", mask)):
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder / "image.png", folder / "mask.png"


WORDS = "--num", 4, "--label", "red"


def test_with_a_mask_the_rest_of_the_image_stays(class_run, photo, here):
    image, mask = photo
    images, report = draw(class_run, here, *WORDS, "--init-image", image, "--mask", mask)
    half = tiny.SIZE // 2
    given = np.asarray(Image.open(image).resize((tiny.SIZE, tiny.SIZE), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(images[:, :, :half], np.tile(given[:, :half], (4, 1, 1, 1)))
    assert len({image.tobytes() for image in images[:, :, half:]}) == 4
    assert (report["strength"], report["mask"]) == (1.0, str(mask))


def test_the_less_noise_the_more_remains_of_the_image(class_run, photo, here):
    """By how far what becomes of two images is apart; at T nearly nothing is left of either."""
    apart = []
    for strength in (0.25, 1.0):
        words = *WORDS, "--spacing", "trailing", "--strength", strength
        one, report = draw(class_run, here, *words, "--init-image", photo[0])
        other, _ = draw(class_run, here, *words, "--init-image", photo[1])
        assert report["strength"] == strength
        apart.append(np.mean(np.abs(one.astype(float) - other)))
    assert apart[0] > 5.0
    assert apart[1] < 0.5
