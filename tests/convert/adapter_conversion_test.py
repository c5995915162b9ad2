"""Adapters become files, files are attached to a run, and are merged into a model once."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import export
import numpy as np
import pytest

from ldm_jax import config as c
from ldm_jax import convert, runs, sampling
from ldm_jax.adapters.controlnet import ControlNet
from ldm_jax.adapters.lora import LoRA
from ldm_jax.adapters.settings import Base
from ldm_jax.adapters.t2i_adapter import T2IAdapter
from ldm_jax.errors import InputError
from ldm_jax.runs.adapters import NAME
from ldm_jax.runs.digest import model_digest
from ldm_jax.sampling import exported
from ldm_jax.weights.formats import peft_folder
from ldm_jax.weights.formats.files import read_weights, write_weights
from tests.support import tiny

SETTINGS = LoRA(rank=2, alpha=1.0, target_modules=("to_q", "conv1", "layers.0.1.to_v"))
PARTS = ("denoiser", "conditioner", "first_stage")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The run of a model of captions with drawn weights."""
    experiment = tiny.experiment(latent_scale=1.0)
    _, params, tokenizer = tiny.model(experiment)
    (text,), size = experiment.conditions, tokenizer.get_vocab_size()
    token = params["conditioner"]["token"]
    token["embedding"] = token["embedding"][:size]
    experiment = replace(experiment, conditions=(replace(text, vocab_size=size),))
    run = tmp_path_factory.mktemp("bases") / "base"
    runs.write_imported(run, experiment, params, None, {"tokens": tokenizer})
    return run


@pytest.fixture(scope="module")
def trained(base):
    return runs.load(base)


def of(trained) -> Base:
    return Base(trained.experiment, trained.model, trained.tokenizers)


@pytest.fixture(scope="module")
def own(trained) -> dict:
    """Params of the adapter away from where they begin."""
    return tiny.drawn(lambda key: SETTINGS.build(of(trained)).init(key, trained.params))


@pytest.fixture(scope="module")
def run(trained, own, base, tmp_path_factory) -> Path:
    """The run of the adapter."""
    digest = model_digest(trained.params)
    experiment = c.AdapterExperiment(base=str(base), base_digest=digest, adapter=SETTINGS)
    place = tmp_path_factory.mktemp("adapters") / "style"
    runs.write_imported(place, experiment, {"adapters": {NAME: own}})
    return place


@pytest.fixture(scope="module")
def file(trained, own, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("files") / "style.safetensors"
    arrays, metadata = SETTINGS.to_file(own, of(trained))
    write_weights(place, arrays, metadata=metadata)
    return place


def expected(trained, own, scale: float) -> dict:
    params = SETTINGS.build(of(trained)).weights(own, trained.params, scale)
    return {part: params[part] for part in PARTS}


def test_what_is_merged_is_the_model_with_the_adapter(trained, own, base, file, tmp_path):
    convert.convert(base, tmp_path / "merged", adapters=[f"{file}:0.5"])
    found = runs.load(tmp_path / "merged")
    tiny.assert_close(
        {p: found.params[p] for p in PARTS}, expected(trained, own, 0.5), rtol=1e-5, atol=1e-6
    )
    assert found.experiment == trained.experiment
    assert found.tokenizer.to_str() == trained.tokenizer.to_str()


def test_several_are_merged_one_after_the_other(trained, own, base, run, file, tmp_path):
    other = tmp_path / "other.safetensors"
    shutil.copyfile(file, other)
    convert.convert(base, tmp_path / "merged", adapters=[f"{run}:-0.25", f"{other}:1"])
    found = runs.load(tmp_path / "merged").params
    tiny.assert_close(
        {p: found[p] for p in PARTS}, expected(trained, own, 0.75), rtol=1e-4, atol=1e-6
    )
    with pytest.raises(InputError, match="--adapter has two of the name 'style'"):
        convert.convert(base, tmp_path / "no", adapters=[str(file), str(file)])


def test_the_same_as_a_file_of_the_original(base, file, tmp_path):
    convert.convert(base, tmp_path / "run", adapters=[str(file)])
    convert.convert(tmp_path / "run", tmp_path / "of_run.safetensors")
    convert.convert(base, tmp_path / "merged.safetensors", adapters=[str(file)])
    a, b = (read_weights(tmp_path / f"{name}.safetensors") for name in ("of_run", "merged"))
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[key], b[key]) for key in a)
    plain = tmp_path / "plain.safetensors"
    convert.convert(base, plain)
    moved = [key for key in a if not np.array_equal(a[key], read_weights(plain)[key])]
    assert any(key.startswith("model.diffusion_model.") for key in moved)
    assert any(key.startswith("cond_stage_model.") for key in moved)


def test_an_adapter_of_a_run_becomes_the_file_that_is_read_as_it(run, base, trained, own, tmp_path):
    convert.convert(run, tmp_path / "file.safetensors")
    attached = runs.attach(runs.describe(base), [str(tmp_path / "file.safetensors")])
    tiny.assert_same(attached.adapters[0].read(), own)
    again = runs.with_weights(attached).params
    tiny.assert_close(
        {p: again[p] for p in PARTS}, expected(trained, own, 1.0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("settings", [ControlNet(stem=(4, 6)), T2IAdapter()])
def test_what_reads_hints_becomes_a_file_or_a_folder_of_diffusers(
    settings, trained, base, tmp_path
):
    built = settings.build(of(trained))
    params = tiny.drawn(lambda key: built.init(key, trained.params))
    experiment = c.AdapterExperiment(base=str(base), adapter=settings)
    runs.write_imported(tmp_path / "run", experiment, {"adapters": {NAME: params}})
    places = {"original": tmp_path / "net.safetensors", "diffusers": tmp_path / "net"}
    for layout, place in places.items():
        convert.convert(tmp_path / "run", place)
        (found,) = runs.attach(runs.describe(base), [str(place)]).adapters
        assert found.settings.layout == layout
        tiny.assert_same(found.read(), params)
    said = json.loads((tmp_path / "net" / "config.json").read_text("utf-8"))
    assert said["_class_name"] in ("ControlNetModel", "T2IAdapter")


def test_folders_of_peft_hold_a_component_each(trained, own, base, tmp_path):
    arrays, metadata = replace(SETTINGS, layout="peft").to_file(own, of(trained))
    peft_folder.write(tmp_path, arrays, metadata)
    for name in ("unet", "text_encoder"):
        assert {file.name for file in (tmp_path / name).iterdir()} == {
            "adapter_config.json",
            "adapter_model.safetensors",
        }
    attached = runs.attach(runs.describe(base), [str(tmp_path)])
    tiny.assert_same(attached.adapters[0].read(), own)
    alone = runs.attach(runs.describe(base), [str(tmp_path / "unet")]).adapters[0].read()
    tiny.assert_same(alone, {"denoiser": own["denoiser"]})


def test_what_cannot_be_merged_or_written_is_refused(base, run, file, tmp_path):
    for name in ("folder", "style.bin"):  # torch's files of adapters have layouts of their own
        with pytest.raises(InputError, match=r"expected NAME\.safetensors"):
            convert.convert(run, tmp_path / name)
    with pytest.raises(InputError, match="is no run: expected the base's run"):
        convert.convert(file, tmp_path / "out", adapters=[str(file)])
    broken = {key: x for key, x in read_weights(file).items() if "lora_up" not in key}
    write_weights(tmp_path / "broken.safetensors", {n: np.array(x) for n, x in broken.items()})
    with pytest.raises(InputError, match=r"broken.safetensors': .*: expected lora_up, too"):
        convert.convert(base, tmp_path / "out", adapters=[str(tmp_path / "broken.safetensors")])
    assert not (tmp_path / "out").exists()


def test_an_export_has_the_adapter_in_its_weights(base, file, tmp_path):
    pytest.importorskip("flatbuffers")
    words = [str(base), "--out", str(tmp_path / "out"), "--batch", "2", "--adapter", f"{file}:0.5"]
    export.main(words)
    asked = {"num": 2, "seed": 3, "prompt": ["a red block"], "steps": 2, "guidance": 2.0}
    found = exported.load(tmp_path / "out")
    images = exported.draw(found, exported.resolve(found, **asked)).images.astype(int)

    def drawn(described, **changes):
        run = runs.with_weights(described)
        request = sampling.resolve(run, batch_size=2, **asked, **changes)
        return sampling.draw(run, request).images.astype(int)

    described, words = runs.describe(base), (f"{file}:0.5",)
    np.testing.assert_allclose(images, drawn(runs.attach(described, words), adapter=words), atol=1)
    assert np.mean(images != drawn(described)) > 0.1
