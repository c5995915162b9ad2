"""Folders of diffusers of whole models become runs, and runs such folders, tensor for tensor."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ldm_jax import checkpoint, convert, runs, sampling
from ldm_jax import config as c
from ldm_jax.errors import InputError
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names import diffusers_model, diffusers_scheduler
from tests.support import tiny

MERGES = "#version: 0.2\na b\nc d</w>\n"
CLIP = c.CLIPText(dim=8, layers=1, num_heads=2, head_dim=4, length=6, vocab_size=516)
KINDS = {
    "text": (CLIP, None),
    "inpainting": (replace(CLIP, weights="openclip"), c.Inpainting(form="stable_diffusion")),
    "depth": (CLIP, c.Depth()),
    "upscaler": (CLIP, c.LowResolution(factor=2, max_noise=7)),
    "variations": (c.CLIPImage(channels=8, layers=1, num_heads=2, dim=8, patch=4, size=8), None),
    "unclip": (CLIP, c.UnCLIP(channels=8, layers=1, num_heads=2, dim=6, patch=4, size=8)),
}


def experiment(kind="text") -> c.Experiment:
    stage = c.KLAutoencoder(channels=8, channel_mults=(1, 2), num_res_blocks=1, norm_groups=4)
    unet = c.UNet(
        channels=8,
        channel_mults=(1, 2),
        num_res_blocks=1,
        attention_factors=(2, 1),
        num_heads=2,
        norm_groups=4,
        cross_only_factors=(1,) if kind == "upscaler" else (),
        vector_entries=7 if kind == "upscaler" else None,
        vector_dim=12 if kind == "unclip" else None,
    )
    return c.Experiment(
        first_stage=c.FirstStageExperiment(model=stage),
        latent_scale=0.25,
        model=unet,
        conditions=tuple(one for one in KINDS[kind] if one),
        diffusion=c.Diffusion(beta_start=0.01, beta_end=0.2, steps=20),
        data=c.Data(image_size=8),
        sampling=c.Sampling(steps=20, guidance=7.5),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A kind -> a folder as this project writes it of a drawn model of that kind, and its run."""
    root, made = tmp_path_factory.mktemp("folders"), {}

    def make(kind):
        if kind not in made:
            model = experiment(kind)
            (root / "merges.txt").write_text(MERGES)
            run, there = root / f"{kind} run", root / kind
            merges = root / "merges.txt"
            captioned = isinstance(model.conditions[0], c.CLIPText)
            tokenizers = convert.model.tokenizers_of(model, merges if captioned else None)
            built = model.build(tokenizers)
            params = {
                **tiny.drawn(built.init),
                "first_stage": tiny.drawn(built.first_stage.init)
                | {"shift": np.zeros(4, "f"), "scale": np.full(4, 0.25, "f")},
            }
            runs.write_imported(run, model, params, None, tokenizers)
            convert.convert(run, there)
            made[kind] = there, run
        return made[kind]

    return make


def tensors(folder):
    return {
        f"{path.parent.name}/{key}": weights[key]
        for path in sorted(folder.rglob("*.safetensors"))
        for weights in [read_weights(path)]
        for key in weights
    }


def assert_same(a, b):
    a, b = tensors(a), tensors(b)
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key, strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_says_what_it_is_and_comes_back_as_it_was(folder, kind, tmp_path, capsys):
    there, run = folder(kind)
    convert.convert(there, tmp_path / "run")
    assert runs.load_config(tmp_path / "run") == convert.model.checked(experiment(kind))
    for part in ("denoiser", "conditioner", "first_stage"):
        tiny.assert_same(
            *(checkpoint.read_part(x, "params", part) for x in (run, tmp_path / "run"))
        )
    convert.convert(tmp_path / "run", tmp_path / "back")
    assert_same(there, tmp_path / "back")
    for path in there.rglob("*.json"):
        again = tmp_path / "back" / path.relative_to(there)
        assert json.loads(again.read_text()) == json.loads(path.read_text())
    assert "in the layout of diffusers" in capsys.readouterr().out


def test_half_precision_in_shards_under_old_names_comes_back(folder, tmp_path):
    there, _ = folder("text")
    old = tmp_path / "old"
    for path in there.rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            (old / path.relative_to(there)).parent.mkdir(parents=True, exist_ok=True)
            (old / path.relative_to(there)).write_bytes(path.read_bytes())
    for name in ("unet", "vae", "text_encoder"):
        (source,) = (there / name).glob("*.safetensors")
        state = {key: np.asarray(w, np.float16) for key, w in read_weights(source).items()}
        if name == "text_encoder":
            state["text_model.embeddings.position_ids"] = np.arange(6)[None]
            write_weights(old / name / "model.fp16.safetensors", state)
            continue
        places, stem = {}, "diffusion_pytorch_model.fp16"
        for i in range(2):
            file = f"{stem}-0000{i + 1}-of-00002.safetensors"
            part = {key: w for n, (key, w) in enumerate(state.items()) if n % 2 == i}
            write_weights(old / name / file, part)
            places |= dict.fromkeys(part, file)
        index = {"metadata": {}, "weight_map": places}
        name_of = "diffusion_pytorch_model.safetensors.index.fp16.json"
        (old / name / name_of).write_text(json.dumps(index))
    (old / "safety_checker").mkdir()
    convert.convert(old, tmp_path / "run")
    convert.convert(tmp_path / "run", tmp_path / "back")
    assert_same(old, tmp_path / "back")


def test_a_folder_draws_as_the_run_that_it_was_made_of(folder, tmp_path):
    there, run = folder("text")
    convert.convert(there, tmp_path / "run")
    photos = [
        sampling.draw(trained, sampling.resolve(trained, prompt=["ab"], num=1, steps=2)).images
        for trained in map(runs.load, (run, tmp_path / "run"))
    ]
    np.testing.assert_array_equal(*photos)


def test_a_missing_component_is_named(folder, tmp_path):
    there, _ = folder("text")
    for gone, said in (
        ("text_encoder", "there is no text_encoder/config.json: expected the components unet, vae"),
        ("scheduler", "there is no scheduler/scheduler_config.json"),
        ("tokenizer", "there is no tokenizer: expected tokenizer/tokenizer.json"),
        ("unet/diffusion_pytorch_model.safetensors", "has no weights: expected diffusion_pytorch"),
    ):
        copy = shutil.copytree(there, tmp_path / gone.replace("/", "-"))
        place = copy / gone
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        with pytest.raises(InputError, match=said):
            convert.convert(copy, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_what_a_folder_of_unclip_lacks_or_has_otherwise_is_named(folder, tmp_path):
    there = shutil.copytree(folder("unclip")[0], tmp_path / "copy")
    noising = there / "image_noising_scheduler" / "scheduler_config.json"
    noising.write_text(noising.read_text().replace("squaredcos_cap_v2", "linear"))
    with pytest.raises(InputError, match="image_noising_scheduler has beta_schedule linear"):
        convert.convert(there, tmp_path / "run")
    shutil.rmtree(noising.parent)
    with pytest.raises(InputError, match="there is no image_noising_scheduler/scheduler_config"):
        convert.convert(there, tmp_path / "run")
    shutil.rmtree(there / "image_normalizer")
    with pytest.raises(InputError, match=r"there is no image_normalizer/config.json: expected .*"):
        convert.convert(there, tmp_path / "run")


def test_a_pipeline_of_another_family_is_named(folder, tmp_path):
    there = shutil.copytree(folder("text")[0], tmp_path / "copy")
    (there / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    said = r"says StableDiffusionXLPipeline: expected one of Stable.* XL is not read yet"
    with pytest.raises(InputError, match=said):
        convert.convert(there, tmp_path / "run")


def test_weights_that_do_not_fit_are_named_with_their_component(folder, tmp_path):
    there = shutil.copytree(folder("text")[0], tmp_path / "copy")
    path = there / "vae" / "diffusion_pytorch_model.safetensors"
    state = {key: np.array(w) for key, w in read_weights(path).items()}
    del state["encoder.conv_in.bias"]
    path.unlink()
    write_weights(path, state | {"more": np.zeros(1, "f")})
    with pytest.raises(InputError) as error:
        convert.convert(there, tmp_path / "run")
    assert str(error.value).partition(" model: ")[2].split("; ") == [
        "vae/encoder.conv_in.bias is missing: expected shape (8,)",
        "vae/more (1,) is unexpected: no parameter takes it",
    ]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("_class_name", "UNet3DConditionModel", "has _class_name 'UNet3DConditionModel'"),
        ("addition_embed_type", "text_time", "unet's addition_embed_type is 'text_time'"),
        ("block_out_channels", [8, 12], "expected multiples of the first width"),
        ("attention_head_dim", [2, 3], "expected heads of one width"),
    ],
)
def test_networks_that_are_not_here_are_named(field, value, said):
    settings = diffusers_model.unet_config(experiment().model, 4, 4, 8, 4) | {field: value}
    with pytest.raises(InputError, match=said):
        diffusers_model.read_unet(settings)


def test_heads_are_by_level_where_their_width_is_one():
    unet = replace(experiment().model, head_channels=4)
    settings = diffusers_model.unet_config(unet, 4, 4, 8, 4)
    assert settings["attention_head_dim"] == [2, 4]
    read, channels, side = diffusers_model.read_unet(settings)
    assert (read["head_channels"], channels, side) == (4, 4, 4)


@pytest.mark.parametrize(
    ("said", "spacing"),
    [
        ({"timestep_spacing": "trailing", "steps_offset": 0}, "trailing"),
        ({"timestep_spacing": "linspace"}, "linspace"),
        ({"timestep_spacing": "leading", "steps_offset": 0}, "leading"),
        ({"timestep_spacing": "leading", "steps_offset": 1}, "uniform"),
        ({"use_karras_sigmas": True}, "karras"),
    ],
)
def test_the_spacing_of_a_folder_is_followed_or_contradicted_aloud(
    folder, said, spacing, tmp_path, capsys
):
    there = shutil.copytree(folder("text")[0], tmp_path / "copy")
    file = there / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | said))
    convert.convert(there, tmp_path / "run")
    assert runs.load_config(tmp_path / "run").sampling.spacing == spacing
    assert "warning" not in capsys.readouterr().out
    if spacing in ("trailing", "linspace", "leading", "uniform"):
        config = c.Diffusion(beta_start=0.01, beta_end=0.2, steps=20)
        written = diffusers_scheduler.scheduler_config(config, spacing)
        assert diffusers_scheduler.read_spacing(written) == spacing


def test_a_config_that_a_folder_contradicts(folder, tmp_path, capsys):
    config = tmp_path / "config.py"
    other = replace(experiment(), diffusion=replace(experiment().diffusion, prediction="v"))
    config.write_text(runs.as_python(other))
    convert.convert(folder("text")[0], tmp_path / "run", config)
    said = "the file says that diffusion.prediction is eps, and the config, which is followed, v"
    assert said in capsys.readouterr().out


def test_words_that_were_added_to_a_tokenizer_are_tokens(folder, tmp_path):
    there = shutil.copytree(folder("text")[0], tmp_path / "copy")
    place = there / "tokenizer"
    (place / "tokenizer.json").unlink()
    config = there / "text_encoder" / "config.json"
    file = there / "text_encoder" / "model.safetensors"
    state = dict(read_weights(file))
    key = "text_model.embeddings.token_embedding.weight"
    state[key] = np.concatenate([state[key], state[key][:2]])
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": 518}))
    write_weights(file, state)
    words = {"<mine>": 516, "<Other>": 517}
    decoder = {str(number): {"content": word} for word, number in words.items()}
    for name, content in (
        ("added_tokens.json", words),
        ("tokenizer_config.json", {"added_tokens_decoder": decoder}),
    ):
        (place / "added_tokens.json").unlink(missing_ok=True)
        (place / name).write_text(json.dumps(content))
        convert.convert(there, tmp_path / name)
        tokenizer = runs.load(tmp_path / name).tokenizer
        assert {516, 517} <= set(tokenizer.encode("a <mine> <Other>").ids)
        assert 517 not in tokenizer.encode("a <other>").ids
    (place / "added_tokens.json").write_text(json.dumps({"<mine>": 519}))
    (place / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match="'<mine>' the number 519: expected 516, the next"):
        convert.convert(there, tmp_path / "run")


def test_a_process_that_schedulers_have_not_is_refused():
    with pytest.raises(InputError, match=r"diffusion\.schedule is edm"):
        diffusers_scheduler.scheduler_config(c.Diffusion(schedule="edm", prediction="edm"))
    for schedule, prediction in (("linear", "v"), ("cosine", "x0"), ("scaled_linear", "eps")):
        d = c.Diffusion(schedule=schedule, prediction=prediction, zero_terminal_snr=False)
        read = diffusers_scheduler.read_scheduler(diffusers_scheduler.scheduler_config(d))
        assert c.Diffusion(**read) == d
