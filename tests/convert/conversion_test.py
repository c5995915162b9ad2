"""First stages become runs, and runs become files, bit for bit."""

import json
from dataclasses import replace

import convert as tool
import numpy as np
import pytest

from ldm_jax import config as c
from ldm_jax import convert, runs, training
from ldm_jax.errors import InputError
from ldm_jax.runs import writing
from ldm_jax.weights import table
from ldm_jax.weights.formats import diffusers_folder
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names import diffusers
from tests.support import tiny
from tests.support.torch_files import WRITERS

KL = c.KLAutoencoder(channels=32, channel_mults=(1, 2), num_res_blocks=1, z_channels=4)
VQ = c.VQAutoencoder(
    channels=32,
    channel_mults=(1, 1),
    num_res_blocks=1,
    attention_factors=(2,),
    z_channels=3,
    codebook_size=5,
)
every_model = pytest.mark.parametrize("model", [KL, VQ], ids=["kl", "vq"])


def drawn(names, seed=0):
    """A state dict of other numbers in every place."""
    rng = np.random.default_rng(seed)
    return {k: rng.normal(size=s).astype(np.float32) for k, s in table.shapes(names).items()}


def original(model):
    return drawn(model.original_names())


def under(prefix, state):
    return {prefix + key: w for key, w in state.items()}


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for key, w in expected.items():
        np.testing.assert_array_equal(found[key], w, err_msg=key, strict=True)


def write(path, state):
    write_weights(path, state)
    return path


def write_diffusers(folder, model, **settings):
    """A folder as diffusers writes it; returns its weights."""
    description = convert.Description(
        model, 64, (0.0,) * model.z_channels, (0.25,) * model.z_channels
    )
    state = drawn(diffusers.names(model.original_names(), len(model.channel_mults)))
    folder.mkdir()
    config = model.diffusers_config(description) | settings
    diffusers_folder.write(folder, config, state)
    return state


@every_model
def test_from_the_original_and_back(model, tmp_path, capsys):
    state = original(model)
    source = write(tmp_path / "a.safetensors", state)
    convert.convert(source, tmp_path / "run")
    assert runs.load_first_stage_config(tmp_path / "run").model == model
    convert.convert(tmp_path / "run", tmp_path / "b.safetensors")
    assert_equal(read_weights(tmp_path / "b.safetensors"), state)
    assert (tmp_path / "b.safetensors").read_bytes() == source.read_bytes()
    convert.convert(tmp_path / "run", tmp_path / "b.ckpt")
    assert_equal(read_weights(tmp_path / "b.ckpt"), state)
    said = capsys.readouterr()
    assert "KL autoencoder, " in said.out or "VQ autoencoder with 5 codes" in said.out
    assert f"{sum(w.size for w in state.values()):,} parameters" in said.out
    assert said.err == ""  # such as that its training has not finished


@every_model
def test_from_diffusers_and_back(model, tmp_path):
    state = write_diffusers(tmp_path / "a", model)
    convert.convert(tmp_path / "a", tmp_path / "run")
    experiment = runs.load_first_stage_config(tmp_path / "run")
    assert (experiment.model, experiment.data.image_size) == (model, 64)
    convert.convert(tmp_path / "run", tmp_path / "b")
    assert_equal(diffusers_folder.read(tmp_path / "b").state, state)
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def test_both_layouts_are_the_same_parameters(tmp_path):
    source = write(tmp_path / "a.safetensors", original(KL))
    convert.convert(source, tmp_path / "run")
    convert.convert(tmp_path / "run", tmp_path / "folder")
    convert.convert(tmp_path / "folder", tmp_path / "again")
    convert.convert(tmp_path / "again", tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("write_torch", WRITERS.values(), ids=WRITERS)
def test_a_training_checkpoint(write_torch, tmp_path, capsys):
    state, loss = original(VQ), {"loss.discriminator.main.0.weight": np.zeros(3, "f")}
    source = write_torch(tmp_path / "last.ckpt", {"state_dict": state | loss, "global_step": 7})
    convert.convert(source, tmp_path / "run")
    convert.convert(tmp_path / "run", tmp_path / "b.safetensors")
    assert_equal(read_weights(tmp_path / "b.safetensors"), state)
    assert "1 weights of the loss that trained it (loss.*) are left out" in capsys.readouterr().out


def test_inside_a_larger_checkpoint_with_its_scale(tmp_path, capsys):
    state = under("first_stage_model.", original(KL))
    rest = {"scale_factor": np.asarray(0.18215, "f"), "model.diffusion_model.a": np.zeros(2, "f")}
    convert.convert(write(tmp_path / "sd.safetensors", state | rest), tmp_path / "run")
    experiment = runs.load_first_stage_config(tmp_path / "run")
    params = runs.load_first_stage(tmp_path / "run", experiment.model.build())
    np.testing.assert_array_equal(params["scale"], np.full(4, np.float32(0.18215)))
    convert.convert(tmp_path / "run", tmp_path / "folder")
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert (config["scaling_factor"], config["shift_factor"]) == (0.18215, None)
    convert.convert(tmp_path / "run", tmp_path / "b.safetensors")
    said = capsys.readouterr().out
    assert "\nlatents are shifted by 0 and scaled by 0.18215\n" in said
    assert "latents are shifted by 0 and scaled by 0.18215, which the file does not hold" in said


@pytest.mark.parametrize("config", [True, False])
def test_the_file_of_diffusers_alone(config, tmp_path, capsys):
    state = write_diffusers(tmp_path / "a", KL)
    file = tmp_path / "a" / "diffusion_pytorch_model.safetensors"
    if not config:
        (tmp_path / "a" / "config.json").unlink()
    convert.convert(file, tmp_path / "run")
    assert runs.load_first_stage_config(tmp_path / "run").model == KL
    said = "there is no config.json beside the file, with the scale of latents: left at 1"
    assert (said in capsys.readouterr().out) != config
    convert.convert(tmp_path / "run", tmp_path / "b")
    assert_equal(diffusers_folder.read(tmp_path / "b").state, state)


def test_half_precision_is_widened(tmp_path, capsys):
    half = {key: w.astype(np.float16) for key, w in original(KL).items()}
    convert.convert(write(tmp_path / "a.safetensors", half), tmp_path / "run")
    convert.convert(tmp_path / "run", tmp_path / "b.safetensors")
    assert_equal(
        read_weights(tmp_path / "b.safetensors"),
        {key: w.astype(np.float32) for key, w in half.items()},
    )
    assert "\nweights of float16 become float32\n" in capsys.readouterr().out


def test_whole_numbers_are_no_weights(tmp_path):
    state = {key: w.astype(np.int8) for key, w in original(KL).items()}
    source = write(tmp_path / "a.safetensors", state)
    assert_refused(r"a.safetensors: encoder\..* is of int8: expected float32", tmp_path, source)


def test_without_the_convolutions_that_flux_does_without(tmp_path):
    state = {key: w for key, w in original(KL).items() if "quant_conv" not in key}
    convert.convert(write(tmp_path / "a.safetensors", state), tmp_path / "run")
    convert.convert(tmp_path / "run", tmp_path / "b.safetensors")
    assert_equal(read_weights(tmp_path / "b.safetensors"), state)
    convert.convert(tmp_path / "run", tmp_path / "folder")
    folder = diffusers_folder.read(tmp_path / "folder")
    assert not folder.settings["use_quant_conv"] and not folder.settings["use_post_quant_conv"]
    assert not any("quant_conv" in key for key in folder.state)


def test_with_a_codebook_they_are_missing(tmp_path):
    state = {key: w for key, w in original(VQ).items() if "quant_conv" not in key}
    source = write(tmp_path / "a.safetensors", state)
    assert_refused(r" quant_conv\.\* is missing: expected 2 weights", tmp_path, source)


def narrow_config(path):
    """A config whose model no shape describes."""
    experiment = tiny.experiment().first_stage
    path.write_text(runs.as_python(experiment))
    return path, experiment


def test_a_run_is_a_first_stage_to_train_on(tmp_path, image_folder):
    config, experiment = narrow_config(tmp_path / "narrow.py")
    source = write(tmp_path / "a.safetensors", original(experiment.model))
    convert.convert(source, tmp_path / "run", config)
    second = replace(
        tiny.experiment(image_folder), first_stage=c.FirstStageExperiment(run=str(tmp_path / "run"))
    )
    training.train(second, tmp_path / "second", dry_run=True)
    first = replace(experiment, data=replace(second.data, path=str(image_folder)))
    with pytest.raises(InputError, match="holds weights from elsewhere and no state of training"):
        training.train(first, tmp_path / "run")


def test_the_command_line(tmp_path, capsys):
    config, experiment = narrow_config(tmp_path / "narrow.py")
    source = write(tmp_path / "a.safetensors", original(experiment.model))
    tool.main([str(source), str(tmp_path / "run"), "--config", str(config)])
    tool.main([str(tmp_path / "run"), str(tmp_path / "b.safetensors")])
    assert (tmp_path / "b.safetensors").read_bytes() == source.read_bytes()
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        tool.main(["--help"])
    assert not stop.value.code
    assert "--tokenizer" in capsys.readouterr().out
    for words in ([], [str(source)], ["--config", str(config), str(source)]):
        with pytest.raises(InputError, match="expected python scripts/convert"):
            tool.main(words)
    with pytest.raises(InputError, match="--confg is not a setting: did you mean '--config'"):
        tool.main([str(source), str(tmp_path / "c"), "--confg", str(config)])


def test_groups_are_not_in_the_file(tmp_path, capsys):
    config, experiment = narrow_config(tmp_path / "narrow.py")
    source = write(tmp_path / "a.safetensors", original(experiment.model))
    with pytest.raises(InputError, match=r"expected --config CONFIG\.py, whose model sets norm"):
        convert.convert(source, tmp_path / "run")
    convert.convert(source, tmp_path / "run", config)
    convert.convert(tmp_path / "run", tmp_path / "b.safetensors")
    assert "does not hold norm_groups, 4 here and 32" in capsys.readouterr().out


def assert_refused(message, tmp_path, source, destination="run", config=None):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message):
        convert.convert(source, tmp_path / destination, config)
    assert sorted(tmp_path.rglob("*")) == before


def test_every_key_that_does_not_fit_is_named_and_nothing_written(tmp_path):
    state = original(KL)
    del state["encoder.conv_in.bias"], state["decoder.mid.attn_1.q.weight"]
    state["encoder.extra"] = np.zeros(2, "f")
    state["encoder.norm_out.weight"] = np.zeros(3, "f")
    source = write(tmp_path / "a.safetensors", state)
    with pytest.raises(InputError) as error:
        convert.convert(source, tmp_path / "run")
    title, _, causes = str(error.value).partition(" network: ")
    assert title == f"{source}: these weights are not of this"
    assert causes.split("; ") == [
        "decoder.mid.attn_1.q.weight is missing: expected shape (64, 64, 1, 1)",
        "encoder.conv_in.bias is missing: expected shape (32,)",
        "encoder.extra (2,) is unexpected: no parameter takes it",
        "encoder.norm_out.weight has shape (3,): expected (64,)",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_one_cause_is_said_once(tmp_path):
    state = {key: w for key, w in original(KL).items() if not key.startswith("decoder.up.")}
    state |= {f"lpips.net.{n}.weight": np.zeros(3, "f") for n in range(50)}
    source = write(tmp_path / "a.safetensors", state)
    with pytest.raises(InputError) as error:
        convert.convert(source, tmp_path / "run")
    assert str(error.value) == (
        f"{source}: these weights are not of this network: decoder.up.* is missing: expected "
        f"{sum(key.startswith('decoder.up.') for key in original(KL))} weights; lpips.* is "
        "unexpected: no parameter takes these 50 weights"
    )


def test_keys_are_named_as_diffusers_names_them(tmp_path):
    write_diffusers(tmp_path / "a", KL, num_hidden=3)
    assert_refused("a: num_hidden is 3: expected no such field", tmp_path, tmp_path / "a")
    state = write_diffusers(tmp_path / "b", KL)
    del state["decoder.mid_block.attentions.0.to_k.bias"]
    write(tmp_path / "b" / "diffusion_pytorch_model.safetensors", state)
    missing = r"decoder\.mid_block\.attentions\.0\.to_k\.bias is missing: expected shape \(64,\)"
    assert_refused(missing, tmp_path, tmp_path / "b")


def test_what_cannot_be_converted(tmp_path, trained_run):
    source = write(tmp_path / "a.safetensors", original(KL))
    (tmp_path / "folder").mkdir()
    config, _ = narrow_config(tmp_path / "narrow.py")
    assert_refused("'.*nowhere' does not exist", tmp_path, tmp_path / "nowhere")
    assert_refused("a.safetensors' exists: expected", tmp_path, source, "a.safetensors")
    assert_refused("named as a file", tmp_path, source, "b.ckpt")
    assert_refused("folder: there is no config.py as in a run", tmp_path, tmp_path / "folder")
    assert_refused("narrow.py is no PyTorch file", tmp_path, config)
    assert_refused(
        "'.*nowhere.py' does not exist", tmp_path, source, config=tmp_path / "nowhere.py"
    )
    assert_refused("is unexpected: no parameter", tmp_path, source, config=config)
    first = trained_run / "first_stage"
    assert_refused("--config is for imports", tmp_path, first, "b", config=config)
    assert_refused(
        "condition Text .*: expected CLIPText or CLIPImage and one scale .*; NAME.safetensors",
        tmp_path,
        trained_run,
        "b",
    )


def test_diffusers_and_the_config_must_agree(tmp_path):
    write_diffusers(tmp_path / "a", KL)
    (tmp_path / "b.py").write_text(
        runs.as_python(c.FirstStageExperiment(model=replace(KL, norm_groups=16)))
    )
    assert_refused(
        "a: config.json has KLAuto.* and --config KLAuto",
        tmp_path,
        tmp_path / "a",
        "run",
        tmp_path / "b.py",
    )


def test_writing_that_fails_leaves_nothing(tmp_path, monkeypatch):
    source = write(tmp_path / "a.safetensors", original(KL))
    convert.convert(source, tmp_path / "run")

    def full(*_):
        raise OSError("no space left on device")

    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(writing, "write_whole", full)  # after the checkpoint
    with pytest.raises(OSError, match="no space"):
        convert.convert(source, tmp_path / "again")
    monkeypatch.setattr(diffusers_folder, "write_weights", full)  # after config.json
    with pytest.raises(OSError, match="no space"):
        convert.convert(tmp_path / "run", tmp_path / "folder")
    assert sorted(tmp_path.rglob("*")) == before
