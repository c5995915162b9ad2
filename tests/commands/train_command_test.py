"""train.py: what it refuses, with one line that helps and nothing touched; what it does else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import train
from ldm_jax import checkpoint, cli, runs, training
from ldm_jax.config import FirstStageExperiment, Label, Train
from ldm_jax.runtime import lock
from tests.support import tiny

TOOL = Path(__file__).parents[2] / "train.py"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to work in, where `runs` would appear."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def config(image_folder, tmp_path):
    """Writes a config file: `tiny.experiment`, changed."""

    def write(**changes) -> Path:
        path = tmp_path / "tiny_config.py"
        path.write_text(runs.as_python(tiny.experiment(image_folder, **changes)))
        return path

    return write


@pytest.fixture
def refusal(here, monkeypatch, capsys):
    """Calls train.py with words it must refuse; the one line that it says."""

    def call(*words) -> str:
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
        before = contents(here)
        with pytest.raises(SystemExit) as stop:
            cli.main(train.main)
        out, err = capsys.readouterr()
        assert stop.value.code == 2
        assert all(line.startswith("data: ") for line in out.splitlines())
        assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1
        assert contents(here) == before
        return err

    return call


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder within, with its time and size."""
    paths = sorted(folder.rglob("*"))
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size if p.is_file() else 0) for p in paths}


def says(message: str, fragments: list[str]) -> None:
    for fragment in fragments:
        assert fragment in message


# Bad input


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("", ["no config", "train.py CONFIG.py"]),
        ("--train.steps 3", ["no config", "train.py CONFIG.py"]),
        ("missing.py", ["'missing.py' does not exist", "configs/"]),
        (".", ["'.' is a folder", "expected a file"]),
    ],
)
def test_no_config_is_refused(refusal, words, fragments):
    says(refusal(*words.split()), fragments)


@pytest.mark.parametrize(
    ("body", "fragments"),
    [
        ("config = Experiment(dta=Data())", ["Experiment has no field 'dta'", "'data'"]),
        ("config = Experiment(data=Data(batch_sise=4))", ["'batch_sise'", "'batch_size'"]),
        ("config = Experiment(data=Data(image_size='8'))", ["data.image_size is '8'", "int"]),
        ("config = Experiment(data=Data(flip=1))", ["data.flip is 1 (int)", "bool"]),
        ("config = Experiment(train=Train(steps=True))", ["train.steps is True", "int"]),
        ("config = Experiment(train=Train(steps=1.5))", ["train.steps is 1.5", "int"]),
        ("config = Experiment(optim=Optim(lr='fast'))", ["optim.lr is 'fast'", "float"]),
        ("config = Experiment(model=UNet(channel_mults=[1, 2]))", ["model.channel_mults", "tuple"]),
        ("config = Experiment(data=Data(crop='centre'))", ["data.crop", "'center', 'random'"]),
        ("config = Experiment(conditions=(Train(),))", ["conditions is", "tuple[Condition, ...]"]),
        ("config = FirstStageExperiment(modle=1)", ["'modle'", "'model'"]),
        ("config = Experiment(conditions=(Lable(),))", ["NameError", "Lable"]),
        ("konfig = Experiment()", ["`config = Experiment(...)`"]),
        ("config = 3", ["`config = Experiment(...)`"]),
        ("config = (", ["SyntaxError", "line 2"]),
        ("1 / 0", ["ZeroDivisionError", "division by zero"]),
        ("raise ValueError('one\\ntwo')", ["ValueError: one two"]),
    ],
)
def test_a_wrong_config_file_is_refused_by_name(refusal, tmp_path, body, fragments):
    path = tmp_path / "wrong.py"
    path.write_text(f"from ldm_jax.config import *\n{body}\n")
    says(refusal(path), [f"'{path}'", *fragments])


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("--data.batch-sise 4", ["--data.batch-sise", "'--data.batch-size'"]),
        ("--data.batch_sise 4", ["--data.batch_sise", "'--data.batch-size'"]),
        ("--optim.rl=1", ["--optim.rl", "'--optim.lr'"]),
        ("--first-stage.train.stpes 3", ["'--first-stage.train.steps'"]),
        ("surplus", ["'surplus'", "--section.field VALUE"]),
        ("--data.batch-size four", ["--data.batch-size is 'four'", "whole number"]),
        ("--data.batch-size 4.5", ["--data.batch-size is '4.5'", "whole number"]),
        ("--data.image-size big", ["--data.image-size is 'big'", "whole number"]),
        ("--optim.lr fast", ["--optim.lr is 'fast'", "a number"]),
        ("--optim.clip loose", ["--optim.clip is 'loose'", "a number"]),
        ("--model.channel-mults 1 x", ["--model.channel-mults", "'x'"]),
        ("--data.flip maybe", ["--data.flip", "'maybe'", "'True', 'False'"]),
        ("--data.crop centre", ["--data.crop", "'centre'", "'center', 'random'"]),
        ("--data.image-size", ["--data.image-size has no value"]),
        ("--workdir", ["--workdir has no value"]),
        ("--workdir=", ["--workdir has no value"]),
        ("--workdir --dry-run", ["--workdir has no value"]),
        ("--init-from", ["--init-from has no value"]),
        ("--init-from nowhere", ["run 'nowhere' does not exist"]),
        ("--init-partial", ["--init-partial", "without --init-from"]),
    ],
)
def test_a_wrong_word_is_refused_by_name(refusal, config, words, fragments):
    says(refusal(config(), *words.split()), fragments)


@pytest.mark.parametrize(("rule", "side"), [("─", "│"), ("-", " ")], ids=["utf-8", "ascii"])
def test_the_words_of_tyro_are_found_in_whatever_it_draws_around_them(rule, side):
    rule = 20 * rule
    lines = [rule, "Error parsing --a.b: invalid", "literal for int(): 'x'", rule, "Argument help"]
    box = "\n".join([" Value error ", *(f"{side} {line} {side}" for line in lines)])
    text = cli._first_paragraph(box)
    assert text == "Error parsing --a.b: invalid literal for int(): 'x'"
    assert cli._wrong_value(text) == "--a.b is 'x': expected a whole number"


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("--train.steps 0", ["train.steps is 0", "at least 1"]),
        ("--train.steps -2", ["train.steps is -2", "at least 1"]),
        ("--first-stage.train.steps 0", ["first_stage.train.steps is 0", "at least 1"]),
        ("--train.save-every 0", ["train.save_every is 0", "at least 1"]),
        ("--train.log-every 0", ["train.log_every is 0", "at least 1"]),
        ("--train.sample-every -1", ["train.sample_every is -1", "0 or more"]),
        ("--train.keep 0", ["train.keep is 0", "at least 1"]),
        ("--train.num-samples 0", ["train.num_samples is 0", "at least 1"]),
        ("--train.snapshot-every 5", ["train.snapshot_every is 5", "optim.power_ema ()", "both"]),
        ("--optim.power-ema 0.05 0.3", ["optim.power_ema is (0.05, 0.3)", "less than 0.288"]),
        ("--train.profile-steps 3", ["train.profile_steps is (3,)", "a first and a last step"]),
        ("--train.profile-steps 5 3", ["train.profile_steps is (5, 3)", "a first and a last"]),
        ("--optim.lr -1", ["optim.lr is -1.0", "more than 0"]),
        ("--optim.lr 0", ["optim.lr is 0.0", "more than 0"]),
        ("--optim.lr nan", ["optim.lr is nan", "more than 0"]),
        ("--first-stage.optim.lr inf", ["first_stage.optim.lr is inf", "more than 0"]),
        ("--optim.clip -1", ["optim.clip is -1.0", "more than 0"]),
        ("--optim.warmup -1", ["optim.warmup is -1", "0 or more"]),
        ("--optim.b2 1", ["optim.b2 is 1.0", "less than 1"]),
        ("--optim.ema-decay 1.5", ["optim.ema_decay is 1.5", "0 to 1"]),
        ("--data.threads -1", ["data.threads is -1", "0 or more"]),
        ("--data.max-bad-images -1", ["data.max_bad_images is -1", "0 or more"]),
        ("--data.batch-size 0", ["data.batch_size is 0", "at least 1"]),
        (
            "--data.batch-size 17",
            ["16 examples", "fewer than one batch of 17", "--data.batch-size"],
        ),
        ("--data.path None", ["data.path is not set", "--data.path a folder"]),
        ("--data.image-size None", ["data.image_size is not set", "pixels"]),
        ("--data.image-size 0", ["data.image_size is 0", "at least 1"]),
        ("--data.image-size -8", ["data.image_size is -8", "at least 1"]),
        ("--data.image-size 7", ["data.image_size is 7", "multiple of 2", "such as 8"]),
        (
            "--data.image-size 6 --model.channel-mults 1 2",
            ["data.image_size is 6", "multiple of 4", "such as 8"],
        ),
        ("--data.background 300 0 0", ["data.background is (300, 0, 0)", "0 to 255"]),
        ("--conditions.0.drop 1.5", ["conditions.0.drop is 1.5", "0 to 1"]),
        ("--conditions.0.drop -0.1", ["conditions.0.drop is -0.1", "0 to 1"]),
        ("--conditions.0.length 2", ["conditions.0.length is 2", "at least 3"]),
        ("--conditions.0.vocab-size None", ["vocab_size of Text is None", "tokenizer"]),
        ("--conditions.0.tokenizer no.json", ["'no.json' does not exist", "tokenizer.json"]),
        ("--conditions.0.pooled True", ["conditions.0.dim is 8", "expected 32", "its vector"]),
        ("--model.vector-dim 8", ["model.vector_dim is 8", "None", "Text(pooled=True)"]),
        ("--optim.b1 1", ["optim.b1 is 1.0", "less than 1"]),
        ("--model.channel-mults", ["model.channel_mults is ()", "at least 1"]),
        ("--model.channel-mults 1 0", ["model.channel_mults is (1, 0)", "at least 1"]),
        ("--first-stage.model.channel-mults", ["first_stage.model.channel_mults is ()"]),
        ("--first-stage.model.z-channels 0", ["first_stage.model.z_channels is 0", "at least 1"]),
        ("--model.num-heads 3", ["model.num_heads is 3", "divisor of 8"]),
        ("--model.num-heads 0", ["model.num_heads is 0", "at least 1"]),
        ("--model.norm-groups 3", ["model.norm_groups is 3", "divisor of 8"]),
        ("--diffusion.steps 0", ["diffusion.steps is 0", "at least 1"]),
        ("--diffusion.beta-end 1.5", ["diffusion.beta_end is 1.5", "less than 1"]),
        (
            "--diffusion.schedule edm --diffusion.zero-terminal-snr True",
            ["diffusion.zero_terminal_snr is True", "False with the edm schedule"],
        ),
        (
            "--diffusion.prediction eps --diffusion.zero-terminal-snr True",
            ["diffusion.prediction is eps", "x0, v, velocity or edm"],
        ),
        (
            "--diffusion.prediction eps --diffusion.schedule flow",
            ["diffusion.prediction is eps", "x0, v, velocity or edm"],
        ),
        (
            "--diffusion.schedule edm --diffusion.sigma-min 80",
            ["diffusion.sigma_min is 80", "less than diffusion.sigma_max, which is 80"],
        ),
        ("--diffusion.learned-variance True", ["loss.kind is simple", "hybrid or vlb"]),
        ("--loss.kind hybrid", ["loss.kind is hybrid", "diffusion.learned_variance"]),
        ("--loss.kind vlb --loss.weight p2", ["loss.weight is p2", "none", "vlb"]),
        ("--loss.kind vlb --loss.distance l1", ["loss.distance is l1", "l2", "vlb"]),
        ("--loss.levels 256", ["loss.levels is 256", "None", "simple"]),
        ("--loss.times-std 0", ["loss.times_std is 0", "more than 0"]),
        ("--diffusion.shift 0", ["diffusion.shift is 0", "more than 0"]),
        ("--sampling.steps 21", ["sampling.steps is 21", "diffusion.steps, which is 20"]),
        ("--sampling.eta 2", ["sampling.eta is 2.0", "0 to 1"]),
        ("--seed -1", ["seed is -1", "0 to 2^32 - 1"]),
        (
            "--first-stage.loss.adversary.weight 1",
            ["first_stage.data.image_size is 8", "at least 24", "loss.adversary.layers"],
        ),
        ("--first-stage.loss.adversary.start -1", ["adversary.start is -1", "0 or more"]),
        ("--first-stage.loss.perceptual-weight nan", ["perceptual_weight is nan", "0 or more"]),
        (
            "--first-stage.loss.codebook.commitment 1",
            ["first_stage.loss.codebook is", "KLAutoencoder has no codebook", "VQAutoencoder()"],
        ),
        ("--first-stage.run nowhere", ["run 'nowhere' does not exist", "train.py"]),
        ("--first-stage.run .", ["'.' is not a run", "train.py"]),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(refusal, config, words, fragments):
    says(refusal(config(), *words.split()), fragments)


def test_a_batch_that_the_devices_cannot_share_is_refused(refusal, config, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    message = refusal(config(), "--first-stage.data.batch-size", 9)
    says(message, ["data.batch_size is 8", "multiple of 3, the number of devices", "such as 9"])


@pytest.fixture
def images(tmp_path):
    """Writes a folder of images: of a size, of classes, of which some are cut short."""

    def write(count: int = 12, side: int = 8, classes: int = 1, damaged: int = 0) -> Path:
        noise = np.random.default_rng(0).integers(0, 255, (count, side, side, 3), np.uint8)
        for i, pixels in enumerate(noise):
            folder = tmp_path / "images" / f"class{i % classes}"
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{i:02}.png"
            Image.fromarray(pixels).save(file)
            if i < damaged:
                file.write_bytes(file.read_bytes()[:100])
        return tmp_path / "images"

    return write


def test_a_folder_that_is_missing_or_empty_is_refused(refusal, config, tmp_path):
    path = tmp_path / "images"
    says(refusal(config(), "--data.path", path), [f"{path} does not exist", "--data.path"])
    path.mkdir()
    says(refusal(config(), "--data.path", path), [f"{path} has no images", "--data.path"])


def test_an_image_smaller_than_the_crop_is_refused(refusal, config, images):
    message = refusal(config(conditions=()), "--data.path", images(side=6))
    says(message, [".png is 6x6 pixels", "image_size 8", "--data.image-size", "--data.upscale"])


@pytest.fixture
def unplanned(monkeypatch):
    """A dry run ends where all is checked and opened: nothing is compiled to say what it costs."""
    monkeypatch.setattr("ldm_jax.training.run.print_plan", lambda *planned: None)


def test_more_damaged_images_than_allowed_are_refused(refusal, config, images, unplanned):
    words = config(conditions=()), "--data.path", images(damaged=3)
    message = refusal(*words, "--data.max-bad-images", 2)
    says(message, ["3 images cannot be read", "02.png", "truncated", "--data.max-bad-images"])
    train.main([*map(str, words), "--dry-run", "--data.max-bad-images", "3"])


def test_an_image_with_nan_is_named(refusal, config, images):
    folder = images()
    pixels = np.full((8, 8), np.nan, np.float32)
    Image.fromarray(pixels).save(folder / "class0" / "broken.tif")
    words = config(conditions=()), "--data.path", folder
    message = refusal(*words, "--data.max-bad-images", 0)
    says(message, ["1 images cannot be read", "broken.tif", "64 of its 64 pixels are NaN"])


def test_a_condition_that_the_data_cannot_fill_is_refused(refusal, config, images):
    data = "--data.path", images(classes=3)
    message = refusal(config(conditions=(Label(num_classes=2, dim=8),)), *data)
    says(message, ["label 2 of class 'class2' is out of range", "num_classes is 2; set it to 3"])
    says(
        refusal(config(), *data), ["conditions has Text", "00.png has no caption", "metadata.jsonl"]
    )
    (data[1] / "loose.png").write_bytes((data[1] / "class0" / "00.png").read_bytes())
    message = refusal(config(conditions=(Label(dim=8),)), *data)
    says(message, ["conditions has Label", "no classes", "loose.png lies outside"])


# Bad input for a run that exists


@pytest.fixture
def copied_run(trained_run, here):
    """A copy of the trained run that may be changed."""
    return Path(shutil.copytree(trained_run, here / "copy"))


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("--model.channels 16", ["another one: model.channels is 8 there and 16 here"]),
        ("--first-stage.model.z-channels 3", ["another one: ", "z_channels is 2 there and 3 here"]),
        ("--conditions.0.dim 16", ["another one: conditions.0.dim is 8 there and 16 here"]),
        ("--optim.clip None", ["another architecture: optimizer opt_state"]),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(refusal, copied_run, words, fragments):
    message = refusal(copied_run / "config.py", "--workdir", copied_run, *words.split())
    says(message, [f"run '{copied_run}", "--workdir", *fragments])


def test_a_run_in_which_something_else_trains_is_refused(refusal, copied_run):
    with lock.holding(copied_run):
        message = refusal(copied_run / "config.py", "--workdir", copied_run, "--train.steps", 9)
    says(message, [f"'{copied_run}' is in use by process {os.getpid()} on ", "--workdir"])


def test_a_config_of_the_users_own_is_not_written_over(refusal, config):
    path = config().rename(config().with_name("config.py"))
    path.write_text(f"# mine\n{path.read_text()}")
    message = refusal(path, "--workdir", path.parent)
    says(message, [f"'{path.parent}' has 'config.py', which train.py has not written"])


@pytest.mark.parametrize("place", ["gs://bucket/run", "s3://b/r", "file:///data/run"])
def test_an_address_is_no_workdir(refusal, config, place):
    says(refusal(config(), "--workdir", place), ["--workdir '", "is an address: ", "mount"])


def test_a_first_stage_that_cannot_be_used_is_refused(refusal, config, copied_run):
    bare = copied_run / "bare"
    bare.mkdir()
    shutil.copy(copied_run / "first_stage" / "config.py", bare)
    message = refusal(config(), "--first-stage.run", bare)
    says(message, [f"run '{bare}' has no checkpoint", "train.py"])
    words = "--first-stage.model.channel-mults", 1, "--data.image-size", 7
    message = refusal(config(), "--first-stage.run", copied_run / "first_stage", *words)
    says(message, ["data.image_size is 7", "multiple of 2"])  # as that first stage has it


@pytest.mark.parametrize("damaged", ["tokenizer.json", "config.py"])
def test_a_damaged_file_of_a_run_is_named(refusal, config, copied_run, damaged):
    (copied_run / damaged).write_text("{ (")
    words = (copied_run / "config.py",) if damaged == "config.py" else (config(),)
    message = refusal(*words, "--workdir", copied_run)
    says(message, [f"'{copied_run / damaged}'"])


def test_a_workdir_that_is_a_file_is_refused(refusal, config, here):
    (here / "file").write_text("")
    for place in ("file", "file/run"):
        says(refusal(config(), "--workdir", place), [f"--workdir '{place}'", "is a file"])


@pytest.mark.process
def test_the_exit_status_is_2_and_standard_error_is_one_line(config, here):
    """The tool itself, on two devices."""
    words = [config(), "--data.batch-size", "7", "--first-stage.data.batch-size", "8"]
    done = subprocess.run(
        [sys.executable, TOOL, *words],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout.startswith("data: 16 images, 4 classes") and done.stdout.count("\n") == 1
    assert done.stderr.count("\n") == 1
    says(
        done.stderr,
        ["error: data.batch_size is 7", "of 2, the number of devices", "such as 8"],
    )
    assert not contents(here)


# What is right


def test_help_is_no_error(config, capsys):
    names = ["--data.path", "--data.image-size", "--first-stage.train.steps", "--optim.lr"]
    own = ["--workdir", "--init-from", "--dry-run", "--distributed", "--coordinator"]
    for words in (["--help"], [str(config()), "--help"]):
        with pytest.raises(SystemExit) as stop:
            train.main(words)
        assert not stop.value.code
        help_text = capsys.readouterr().out
        for text in ["python train.py CONFIG.py", *names, *own]:
            assert text in help_text


def test_a_dry_run_writes_nothing_elsewhere(config, here, unplanned, capsys):
    train.main([str(config()), "--workdir", "elsewhere", "--dry-run"])
    assert "nothing is written" in capsys.readouterr().out
    assert not contents(here)


def test_a_dry_run_writes_nothing(config, here, capsys):
    train.main([str(config()), "--dry-run"])
    said = capsys.readouterr().out
    assert "nothing is written" in said
    for stage in ("first stage", "diffusion"):
        assert len([line for line in said.splitlines() if line.startswith(f"{stage}: ")]) == 6
    assert "GFLOP a step" in said
    assert not contents(here)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("--data.flip True", lambda e: e.data.flip is True),
        ("--data.image_size 16", lambda e: e.data.image_size == 16),
        ("--data.image-size=16", lambda e: e.data.image_size == 16),
        ("--model.channel-mults 1 2", lambda e: e.model.channel_mults == (1, 2)),
        ("--model.attention-factors", lambda e: e.model.attention_factors == ()),
        ("--first-stage.train.steps 40", lambda e: e.first_stage.train.steps == 40),
        ("--first_stage.train.save_every 7", lambda e: e.first_stage.train.save_every == 7),
        ("--optim.lr 3e-4", lambda e: e.optim.lr == 3e-4),
        ("--optim.clip None", lambda e: e.optim.clip is None),
        ("--conditions.0.dim 24", lambda e: e.conditions[0].dim == 24),
        ("--seed 5", lambda e: e.seed == 5),
    ],
)
def test_a_field_is_overridden_and_nothing_else(config, monkeypatch, words, value):
    calls = []
    monkeypatch.setattr(training, "train", lambda *call: calls.append(call))
    path = config()
    train.main([str(path)])
    train.main([str(path), *words.split(), "--workdir=somewhere"])
    (plain, default_run, *_), (changed, run, dry_run, *_) = calls
    assert (default_run, run, dry_run) == (Path("runs/tiny_config"), Path("somewhere"), False)
    assert value(changed)
    assert differing(plain, changed) <= 1  # the value may be the default already


def differing(a, b) -> int:
    """How many lines two experiments differ in, printed one field a line."""
    a, b = (runs.as_python(x).replace(", ", ",\n").split("\n") for x in (a, b))
    return len(set(a) - set(b))


def test_the_same_command_on_a_finished_run_says_so_and_changes_nothing(trained_run, capsys):
    before = contents(trained_run)
    train.main([str(trained_run / "config.py"), "--workdir", str(trained_run)])
    said = capsys.readouterr().out.splitlines()
    lines = [line for line in said if not line.startswith("data: ")]
    assert lines == [
        "first stage: trained already (4 steps)",
        "diffusion: trained already (4 steps)",
    ]
    assert contents(trained_run) == before


def test_more_steps_continue_a_finished_run(copied_run, tmp_path, capsys):
    """On data of which one image is cut short: it is named, counted and skipped."""
    data = tiny.write_folder(tmp_path / "images", 17)
    (data / "03.png").write_bytes((data / "03.png").read_bytes()[:60])
    words = "--train.steps", "8", "--data.path", data, "--first-stage.data.path", data
    train.main([str(copied_run / "config.py"), "--workdir", str(copied_run), *map(str, words)])
    out, err = capsys.readouterr()
    says(out, ["first stage: trained already (4 steps)", "diffusion: resuming from step 4"])
    says(err, [f"warning: skipped {data / '03.png'}", "truncated", "(1 of 10)"])
    assert checkpoint.latest_step(copied_run) == 8
    rows = (copied_run / "metrics.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert cli.load_config(copied_run / "config.py").train.steps == 8


def test_a_first_stage_is_trained_by_itself_with_the_same_command(config, monkeypatch):
    """A config may be a first stage; its fields then have no prefix."""
    calls = []
    monkeypatch.setattr(training, "train", lambda *call: calls.append(call))
    path = config()
    path.write_text(runs.as_python(FirstStageExperiment(train=Train(steps=9))))
    train.main([str(path), "--train.save-every", "3", "--dry-run"])
    ((experiment, _, dry_run, *_),) = calls
    assert experiment == FirstStageExperiment(train=Train(steps=9, save_every=3))
    assert dry_run
