"""Programs that were exported draw what the run draws, and say what they cannot do."""

import json
import shutil
from pathlib import Path

import export
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sample
from ldm_jax import config, runs, sampling
from ldm_jax.adapters.settings import Base
from ldm_jax.errors import InputError
from ldm_jax.sampling import exported
from ldm_jax.sampling.custom_calls import check_custom_calls
from ldm_jax.weights.formats.files import read_weights
from tests.support import tiny

pytest.importorskip("flatbuffers")  # an extra of this project

RED, GREY = "a red block at the top", "a grey block at the bottom"


@pytest.fixture(scope="module", name="folder")
def _folder(caption_run, tmp_path_factory):
    """What the tool writes of it, for a sampler that remembers its past."""
    out = tmp_path_factory.mktemp("exports") / "out"
    words = ["--out", str(out), "--batch", "2", "--sampler", "dpmpp_2m"]
    export.main([str(caption_run), *words, "--platforms", "cpu", "cuda", "tpu"])
    return out


def test_the_images_are_those_of_the_run(draw, caption_run, folder, capsys):
    draw(
        "--compiled", folder, "--num", 3, "--seed", 4, "--prompt", RED, "--guidance", 3,
        "--steps", 5, "--negative-prompt", GREY,
    )  # fmt: skip
    assert "compiled ahead of time" in capsys.readouterr().out
    found = np.load(folder / "samples-seed4" / "samples.npz")["arr_0"].astype(int)
    trained = runs.load(caption_run)
    asked = {"num": 3, "seed": 4, "prompt": [RED], "negative_prompt": [GREY], "steps": 5}
    wanted = sampling.resolve(
        trained, sampler="dpmpp_2m", guidance=3.0, batch_size=2, size=(), **asked
    )
    expected = sampling.draw(trained, wanted).images
    np.testing.assert_allclose(found, expected, atol=1)
    assert np.mean(found == expected) > 0.999
    png = str(folder / "samples-seed4" / "000001.png")
    assert sampling.png_metadata.read(png)["run"] == str(caption_run)


def test_a_folder_says_what_it_is_and_has_each_weight_once(caption_run, folder):
    said = json.loads((folder / "export.json").read_text())
    assert said["platforms"] == ["cpu", "cuda", "tpu"] and said["size"] == [tiny.SIZE] * 2
    assert said["gives"] == f"float32[2, {tiny.SIZE}, {tiny.SIZE}, 3]"
    assert said["takes"]["inputs"] == said["takes"]["negative"] == {"tokens": "int32[2, 8]"}
    assert said["takes"]["times"] == "float32[21]"
    params = runs.load(caption_run).params
    del params["first_stage"]["encoder"]
    shapes = sorted(x.shape for x in jax.tree.leaves(params))
    weights = read_weights(folder / "weights.safetensors")
    assert sorted(weights[name].shape for name in weights) == shapes
    (program,) = folder.glob("*.stablehlo")
    assert program.stat().st_size < 400_000  # without weights inside


def test_noise_on_the_way_and_churn_are_the_runs(class_run, tmp_path):
    described = runs.load(class_run)
    exported.write(described, tmp_path / "out", batch_size=2, sampler="heun", size=(8, 16))
    found = exported.load(tmp_path / "out")
    asked = {"num": 2, "label": ["red", "blue"], "s_churn": 3.0, "steps": 3, "guidance": 2.0}
    images = exported.draw(found, exported.resolve(found, **asked)).images
    assert images.shape == (2, 8, 16, 3)
    wanted = sampling.resolve(described, sampler="heun", size=(8, 16), batch_size=2, **asked)
    expected = sampling.draw(described, wanted).images.astype(int)
    np.testing.assert_allclose(images, expected, atol=1)


def test_weights_of_16_bits_take_half_and_change_little(caption_run, tmp_path):
    described = runs.describe(caption_run)
    halved = runs.with_weights(described, "bfloat16")
    whole = runs.with_weights(described)
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(halved.params), strict=True):
        assert b.dtype == (jnp.bfloat16 if a.ndim > 1 else jnp.float32)
        np.testing.assert_allclose(b.astype(jnp.float32), a, rtol=2**-8)
    asked = {"num": 2, "batch_size": 2, "prompt": [RED]}
    drawn = sampling.draw(halved, sampling.resolve(halved, **asked, param_dtype="bfloat16")).images
    expected = sampling.draw(whole, sampling.resolve(whole, **asked)).images.astype(int)
    assert 0 < np.abs(drawn - expected).max() < 32
    exported.write(halved, tmp_path / "out", batch_size=2, sampler="ddim")
    found = exported.load(tmp_path / "out")
    images = exported.draw(found, exported.resolve(found, num=2, prompt=[RED])).images
    np.testing.assert_allclose(images, drawn.astype(int), atol=1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"sampler": "ddim"}, "--sampler is ddim: expected dpmpp_2m, as was exported"),
        ({"size": (16, 16)}, "--size is 16 16: expected 8 8, as was exported"),
        ({"clip_skip": 2}, "--clip-skip is 2: leave it out"),
        ({"dynamic_threshold": 2.0}, "--dynamic-threshold is 2.0: leave it out with --compiled"),
        ({"interpolate": 3, "to_seed": [4]}, "--interpolate is 3: leave it out with --compiled"),
        ({"steps": 0}, "--steps is 0: expected 1 to 20"),
    ],
)
def test_what_the_programs_do_not_have_is_refused(folder, asked, said):
    with pytest.raises(InputError, match=said):
        exported.resolve(exported.load(folder), **asked)


def test_what_programs_are_read_with_is_asked_for(folder, monkeypatch):
    monkeypatch.setattr(exported.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install flatbuffers"):
        exported.load(folder)


def test_what_cannot_be_exported_or_loaded_is_refused(caption_run, folder, tmp_path):
    with pytest.raises(InputError, match="expected a folder that scripts/export"):
        exported.load(caption_run)
    with pytest.raises(InputError, match="is a model by itself: leave RUN"):
        sample.main([str(caption_run), "--compiled", str(folder)])
    with pytest.raises(InputError, match="--platforms 'gpu': expected some of cpu, cuda"):
        export.main([str(caption_run), "--out", str(tmp_path / "out"), "--platforms", "gpu"])
    with pytest.raises(InputError, match=r"expected python scripts/export\.py RUN --out"):
        export.main([str(caption_run)])
    given = runs.Trained(
        Path("run"), tiny.experiment(conditions=(config.Inpainting(),)), None, {}, {}, (), 0
    )
    with pytest.raises(InputError, match="of a model of masked images: expected one of captions"):
        exported.check_exportable(given)
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    said = json.loads((tmp_path / "export.json").read_text())
    (tmp_path / "export.json").write_text(json.dumps(said | {"platforms": ["tpu"]}))
    with pytest.raises(InputError, match="is for tpu: expected cpu, export with --platforms"):
        exported.load(tmp_path)
    (tmp_path / "export.json").write_text(json.dumps(said))
    (tmp_path / "sample.stablehlo").write_bytes(b"no")
    with pytest.raises(InputError, match=r"sample\.stablehlo cannot be read"):
        exported.load(tmp_path)


def test_functions_of_the_machine_that_no_export_calls_are_refused(folder, tmp_path):
    """Among them those that call back into Python: they are named and nothing is called."""
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())

    def decode(z):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(z.shape, z.dtype), z)

    call = jax.jit(lambda z: jax.ffi.ffi_call("planted", jax.ShapeDtypeStruct(z.shape, z.dtype))(z))
    checks = [jax.export.DisabledSafetyCheck.custom_call("planted")]
    made = jax.export.export(call, disabled_checks=checks)(jnp.zeros(3))
    (tmp_path / "sample.stablehlo").write_bytes(bytes(made.serialize()))
    with pytest.raises(InputError, match=r"sample\.stablehlo calls functions of .*'planted'"):
        exported.load(tmp_path)
    text = str(jax.jit(decode).lower(jnp.zeros(3)).compiler_ir())
    with pytest.raises(InputError, match="callback"):
        check_custom_calls(text, "a program")


@pytest.mark.parametrize(
    "text",
    [
        'stablehlo.custom_call @"a b"(%0)',
        '"stablehlo.custom_call"(%0) <{call_target_name = "Sharding"}>',
        "stablehlo.custom_call @Sharding(%0) stablehlo.custom_call @other(%0)",
        "mhlo.custom_call @other(%0)",
    ],
)
def test_calls_are_found_however_they_are_written(text):
    check_custom_calls("stablehlo.add stablehlo.custom_call @Sharding(%0)", "a program")
    with pytest.raises(InputError, match="a program calls functions of the machine"):
        check_custom_calls(text, "a program")


def test_a_command_that_was_killed_goes_on(class_run, tmp_path, monkeypatch):
    """What it leaves is beside the folder, or hidden in it, and no export."""
    words = [str(class_run), "--out", str(tmp_path / "out")]
    left = {"new": tmp_path / ".out.unfinished", "empty": tmp_path / "out" / ".unfinished"}

    def killed(path, weights):
        shutil.copytree(path.parent, tmp_path / "kept", dirs_exist_ok=True)
        raise KeyboardInterrupt

    for place in left.values():
        place.parent.mkdir(exist_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(exported, "write_weights", killed)
            patch.setattr(exported, "_program", lambda *_: lambda params, given: given["seeds"])
            with pytest.raises(KeyboardInterrupt):
                export.main(words)
        shutil.copytree(tmp_path / "kept", place)
        exported.check_out(tmp_path / "out")
    export.main(words)
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {"export.json", "config.py"}
    assert not left["empty"].exists()
    exported.load(tmp_path / "out")


@pytest.fixture(scope="module", name="adapted")
def _adapted(caption_run, tmp_path_factory):
    """Files of a ControlNet and of an IP-Adapter, and an export with both."""
    folder, trained = tmp_path_factory.mktemp("adapted"), runs.load(caption_run)
    base = Base(trained.experiment, trained.model, trained.tokenizers)
    encoder = config.ImageEncoder(dim=6)
    kinds = {
        "control": config.ControlNet(stem=(4, 8)),
        "prompt": config.IPAdapter(tokens=2, encoder=encoder),
    }
    for name, kind in kinds.items():
        own = tiny.drawn(lambda key, kind=kind: kind.build(base).init(key, trained.params))
        kind.write(folder / f"{name}.safetensors", own, base)
    np.save(folder / "prompt.npy", np.ones((1, 6), np.float32))
    Image.fromarray(np.eye(tiny.SIZE, dtype=np.uint8) * 255).save(folder / "edges.png")
    files = [str(folder / "control.safetensors"), str(folder / "prompt.safetensors:2")]
    export.main([str(caption_run), "--out", str(folder / "out"), "--adapter", *files])
    return folder


def test_adapters_that_act_at_each_step_keep_their_hints_and_scales(adapted, caption_run):
    asked = {"num": 1, "seed": 3, "prompt": [RED], "steps": 3, "guidance": 2.0, "guess": True}
    asked |= {"hint": (str(adapted / "edges.png"),), "image_prompt": (str(adapted / "prompt.npy"),)}
    found = exported.load(adapted / "out")

    def of_export(*adapters):
        request = exported.resolve(found, adapter=adapters, **asked)
        return exported.draw(found, request).images.astype(int)

    files = [f"{adapted / name}.safetensors" for name in ("control", "prompt")]
    words = [f"{files[0]}:3@0-0.7", f"{files[1]}:2"]
    trained = runs.with_weights(runs.attach(runs.describe(caption_run), words))
    request = sampling.resolve(trained, adapter=tuple(words), batch_size=1, **asked)
    images = of_export("control:3@0-0.7")
    np.testing.assert_allclose(images, sampling.draw(trained, request).images.astype(int), atol=1)
    assert np.mean(images != of_export()) > 0.1


def test_what_an_export_with_adapters_refuses(adapted):
    found = exported.load(adapted / "out")
    with pytest.raises(InputError, match="adapter 'control' has no hint: expected --hint IMAGE"):
        exported.resolve(found, num=1)
    with pytest.raises(InputError, match=r"--adapter 'x:2' is not in the export: .*control, prom"):
        exported.resolve(found, num=1, adapter=("x:2",))
