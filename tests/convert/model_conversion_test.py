"""Whole models become runs that draw images, and runs become files, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from ldm_jax import checkpoint, convert, runs, sampling, training
from ldm_jax import config as c
from ldm_jax.conditioning.condition import find
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.weights import table
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names import model as names
from ldm_jax.weights.names.schedule import schedule
from tests.support import tiny
from tests.support.torch_files import Call, Global, write_zip

TEXT = c.Text(dim=8, layers=1, num_heads=2, head_dim=4, length=8, vocab_size=14)
CLIP = c.CLIPText(dim=8, layers=1, num_heads=2, head_dim=4, length=6, vocab_size=516)
MERGES = "#version: 0.2\na b\nc d</w>\n"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcde", *(f"##{x}" for x in "abcde")]
CONDITIONS = {
    "unconditional": None,
    "label": c.Label(num_classes=3, dim=8),
    "label as vector": c.Label(num_classes=3, dim=32, slot="vector", null=False, drop=0.0),
    "text": TEXT,
    "clip": CLIP,
    "openclip": replace(CLIP, weights="openclip"),
    "layout": c.Layout(3, 2, vocab_size=32, dim=8, layers=1, num_heads=2, head_dim=4),
    "semantic map": c.SemanticMap(num_classes=3, stages=1, out_channels=2),
    "low resolution": c.LowResolution(factor=2),
    "inpainting": c.Inpainting(),
    "retrieval": c.Retrieval(dim=8),
    "picture": c.CLIPImage(channels=8, layers=1, num_heads=2, dim=6, patch=4, size=8),
}


def experiment(*conditions, **changes) -> c.Experiment:
    base = tiny.experiment(None)
    first = c.FirstStageExperiment(model=base.first_stage.model)
    diffusion = c.Diffusion(beta_start=0.01, beta_end=0.2, steps=20)
    data = c.Data(image_size=tiny.SIZE)
    base = replace(base, first_stage=first, diffusion=diffusion, data=data, latent_scale="one")
    return replace(base, sampling=c.Sampling(steps=2), conditions=conditions, **changes)


def original(model: c.Experiment, seed=0) -> dict[str, np.ndarray]:
    """A file of the original, other numbers in every place."""
    rng = np.random.default_rng(seed)
    found = model.original_names()
    wanted = table.shapes(found.table)
    averages = {names.averaged_key(k): s for k, s in wanted.items() if k.startswith("model.")}
    state = {
        key: (rng.normal(size=shape) / 4).astype(np.float32)
        for key, shape in (wanted | averages).items()
    }
    state |= {copy: state[key] for copy, key in found.copies.items()}
    state |= schedule(model.diffusion.build_betas())
    state |= {"model_ema.decay": np.float32(0.9999), "model_ema.num_updates": np.int32(7)}
    if model.latent_scale == "one":
        state["scale_factor"] = np.float32(0.7)
    captions = find(model.conditions, "tokens")
    if isinstance(captions, c.CLIPText):
        state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = np.arange(6)
        state["cond_stage_model.model.text_projection"] = np.ones((8, 8), "f")
        state["cond_stage_model.model.logit_scale"] = np.float32(4.6)
    elif captions:
        size = (captions.vocab_size, captions.dim)
        state["cond_stage_model.transformer.to_logits.weight"] = np.ones(size, "f")
        state["cond_stage_model.transformer.to_logits.bias"] = np.zeros(size[0], "f")
    return {key: np.asarray(weight) for key, weight in state.items()}


@pytest.fixture(name="place")
def _place(tmp_path):
    """Writes a config, a vocabulary and a file, and returns their paths."""

    def write(model, state):
        (tmp_path / "config.py").write_text(runs.as_python(model))
        (tmp_path / "merges.txt").write_text(MERGES)
        (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
        write_weights(tmp_path / "a.safetensors", state)
        return tmp_path / "a.safetensors", tmp_path / "run", tmp_path / "config.py"

    return write


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_from_the_original_and_back(condition, place, tmp_path, capsys):
    made = experiment(*([condition] if condition else []))
    source, run, config = place(made, original(made))
    convert.convert(source, run, config)
    convert.convert(run, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == source.read_bytes()
    said = capsys.readouterr().out
    assert "the averages of the denoiser's weights (model_ema.*) are what samples are drawn" in said
    convert.convert(run, tmp_path / "b.ckpt")
    assert_same_files(tmp_path / "b.ckpt", source)


BESIDE = {  # and what a file may hold of what makes the condition
    "inpainting": (c.Inpainting(form="stable_diffusion"), "model_ema.num_updates"),
    "depth": (c.Depth(), "depth_model.model.head.weight"),
    "low resolution": (c.LowResolution(factor=2, max_noise=7), "low_scale_model.betas"),
    "unclip": (
        c.UnCLIP(channels=8, layers=1, num_heads=2, dim=6, patch=4, size=8),
        "embedder.model.token_embedding.weight",
    ),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_a_model_of_captions_and_an_image_comes_and_goes(kind, place, tmp_path):
    beside, aside = BESIDE[kind]
    model = experiment(replace(CLIP, weights="openclip"), beside, latent_scale=0.25)
    if "low" in kind:
        model = replace(model, model=replace(model.model, vector_entries=9))
    if kind == "unclip":
        model = replace(model, model=replace(model.model, vector_dim=12))
    state = original(model) | {aside: np.full(3, 7, np.float16)}
    assert ("model.diffusion_model.label_emb.weight" in state) == ("low" in kind)
    source, run, config = place(model, state)
    convert.convert(source, run, config)
    convert.convert(run, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == source.read_bytes()


def test_embeddings_without_statistics_are_as_they_are(place, tmp_path, capsys):
    encoder = replace(BESIDE["unclip"][0], weights="openai")
    model = experiment(CLIP, encoder, latent_scale=0.25)
    model = replace(model, model=replace(model.model, vector_dim=12))
    state = {k: w for k, w in original(model).items() if not k.startswith("noise_augmentor.")}
    source, run, config = place(model, state | {"noise_augmentor.betas": np.ones(3, "f")})
    convert.convert(source, run, config)
    assert "mean and deviation of embeddings are not in a file" in capsys.readouterr().out
    found = checkpoint.read_part(run, "params", "conditioner")["beside"]
    np.testing.assert_array_equal(found["mean"], np.zeros(6))
    np.testing.assert_array_equal(found["std"], np.ones(6))
    convert.convert(run, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == source.read_bytes()


def assert_same_files(a, b):
    a, b = read_weights(a), read_weights(b)
    assert set(a) == set(b)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key, strict=True)


def test_a_converted_run_draws_of_the_averages(place):
    model = experiment(TEXT)
    state = original(model)
    source, run, config = place(model, state)
    convert.convert(source, run, config, tokenizer=source.with_name("vocab.txt"))
    trained = runs.load(run)
    rows = {row.path: row for row in model.original_names().table}
    for path, weight in table.flattened(trained.params).items():
        if path in ("first_stage/shift", "first_stage/scale"):
            continue
        row, here = rows[path], path.startswith("denoiser")
        keys = [names.averaged_key(key) if here else key for key in row.keys]
        parts = [row.layout.to_here(state[key]) for key in keys]
        np.testing.assert_array_equal(weight, np.concatenate(parts, axis=-1), err_msg=path)
    np.testing.assert_array_equal(trained.params["first_stage"]["scale"], np.float32([0.7, 0.7]))
    asked = sampling.resolve(trained, prompt=["a b", "c"], seed=3)
    photos = sampling.draw(trained, asked).images
    assert photos.shape == (2, tiny.SIZE, tiny.SIZE, 3)
    assert np.std(photos) > 1.0
    assert np.any(photos[0] != photos[1])


@pytest.mark.parametrize("weights", ["openai", "openclip"])
def test_a_model_that_reads_captions_by_clip_draws_of_them(place, weights):
    model = experiment(replace(CLIP, weights=weights))
    source, run, config = place(model, original(model))
    convert.convert(source, run, config, tokenizer=source.with_name("merges.txt"))
    trained = runs.load(run)
    start, end, ab, cd = 514, 515, 512, 513  # 256 bytes, and 256 where words end, then the merges
    b = 256 + ord("b") - ord("!")
    found = [
        tokens.encode(trained.tokenizers["tokens"], prompt).tolist()
        for prompt in ("ab  CD", "abab")
    ]
    fill = end if weights == "openai" else 0
    assert found == [
        [start, ord("a") - ord("!"), b, cd, end, fill],
        [start, ab, ord("a") - ord("!"), b, end, fill],
    ]
    photos = sampling.draw(trained, sampling.resolve(trained, prompt=["ab", "cd"])).images
    assert np.any(photos[0] != photos[1])


def test_a_frozen_encoder_needs_weights_and_keeps_them(place, image_folder, tmp_path):
    model = experiment(CLIP)
    source, run, config = place(model, original(model))
    convert.convert(source, run, config, tokenizer=source.with_name("merges.txt"))
    train = tiny.experiment().train
    model = replace(model, data=replace(tiny.experiment(image_folder).data), train=train)
    model = replace(
        model, conditions=(replace(CLIP, tokenizer=str(source.with_name("merges.txt"))),)
    )
    ours = replace(model, first_stage=replace(model.first_stage, run=str(run)))
    with pytest.raises(InputError, match="frozen and has no weights: expected --init-from RUN"):
        training.train(ours, tmp_path / "without")
    assert not (tmp_path / "without").exists()
    training.train(model, tmp_path / "tuned", init_from=run)
    before, after = runs.load(run).params, runs.load(tmp_path / "tuned").params
    tiny.assert_same(before["conditioner"], after["conditioner"])
    before, after = (tiny.arrays(x["denoiser"]) for x in (before, after))
    assert any(np.any(before[name] != after[name]) for name in before)


def test_without_averages(place, tmp_path, capsys):
    model = experiment()
    state = original(model)
    last = {key: w for key, w in state.items() if not key.startswith("model_ema.")}
    source, run, config = place(model, state)
    convert.convert(source, run, config, averages=False)
    assert "(model_ema.*) are left out" in capsys.readouterr().out
    assert not checkpoint.averaged_parts(run)
    source, _, config = place(model, last)
    again = tmp_path / "again"
    convert.convert(source, again, config)
    assert "there are no averages of the denoiser's weights" in capsys.readouterr().out
    convert.convert(again, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == source.read_bytes()


def test_a_run_that_was_trained_here_is_exported_with_its_averages(trained_run, tmp_path, capsys):
    convert.convert(_with_one_scale(trained_run, tmp_path / "run"), tmp_path / "b.safetensors")
    said = capsys.readouterr().out
    assert "diffusion.prediction is v, and eps in the original's code" in said
    assert "model.norm_groups is 4, and 32 in" in said
    state, trained = read_weights(tmp_path / "b.safetensors"), runs.load(trained_run)
    kernel = np.moveaxis(state["model.diffusion_model.out.2.weight"], (0, 1), (3, 2))
    np.testing.assert_array_equal(kernel, trained.params["denoiser"]["conv_out"]["kernel"])
    assert not any(key.startswith("model_ema.") for key in state)
    np.testing.assert_allclose(
        state["sqrt_alphas_cumprod"], trained.model.process.alphas[1:], rtol=1e-6
    )


def _with_one_scale(run, place):
    """The same run, whose config says that the latents have one scale."""
    place.mkdir()
    for name in ("checkpoints", "frozen", "tokenizer.json"):
        (place / name).symlink_to(run / name)
    words = (run / "config.py").read_text().replace("latent_scale='channels'", "latent_scale='one'")
    (place / "config.py").write_text(words)
    return place


def assert_refused(message, tmp_path, *arguments, **options):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message):
        convert.convert(*arguments, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_every_key_that_does_not_fit_is_named_and_nothing_written(place, tmp_path):
    model = experiment(c.Inpainting())
    state = original(model)
    del state["model.diffusion_model.out.2.bias"], state["model_ema.diffusion_modelout0bias"]
    state["model.extra"] = np.zeros(2, "f")
    state["first_stage_model.quant_conv.bias"] = np.zeros(3, "f")
    key = "cond_stage_model.encoder.conv_in.bias"
    state[key] = state[key] + 1
    source, run, config = place(model, state)
    with pytest.raises(InputError) as error:
        convert.convert(source, run, config)
    title, _, causes = str(error.value).partition(" model: ")
    assert title == f"{source}: these weights are not of this"
    assert causes.split("; ") == [
        "model.diffusion_model.out.2.bias is missing: expected shape (2,)",
        "model.extra (2,) is unexpected: no parameter takes it",
        "first_stage_model.quant_conv.bias has shape (3,): expected (4,)",
        "model_ema.diffusion_modelout0bias is missing: expected shape (8,)",
        f"{key} differs from first_stage_model.encoder.conv_in.bias: expected the same weight "
        "again",
        "cond_stage_model.quant_conv.bias differs from first_stage_model.quant_conv.bias: expected "
        "the same weight again",
    ]
    assert not run.exists()


def test_a_config_of_something_else(place, tmp_path):
    model = experiment()
    state = original(model)
    other = replace(model, diffusion=replace(model.diffusion, beta_end=0.1))
    source, run, config = place(other, state)
    assert_refused(
        "alphas_cumprod ends at .* after 20 steps: expected", tmp_path, source, run, config
    )
    source, run, config = place(replace(model, latent_scale="channels"), state)
    assert_refused("latent_scale is channels: expected one or", tmp_path, source, run, config)
    del state["scale_factor"]
    source, run, config = place(model, state)
    assert_refused("scale_factor is missing, and the config", tmp_path, source, run, config)
    vocabulary = tmp_path / "vocab.txt"
    assert_refused(
        "expected none, since the config's condition is no Text",
        tmp_path, source, run, config, tokenizer=vocabulary,
    )  # fmt: skip
    wide = experiment(replace(TEXT, vocab_size=15))
    source, run, config = place(wide, original(wide))
    assert_refused(
        "has 14 tokens: expected 15", tmp_path, source, run, config, tokenizer=vocabulary
    )


def test_a_known_scale_is_the_configs(place, tmp_path, capsys):
    model = experiment(latent_scale=0.25)
    source, run, config = place(model, original(model))
    convert.convert(source, run, config)
    scale = checkpoint.read_part(run, "params", "first_stage")["scale"]
    np.testing.assert_array_equal(scale, np.float32([0.25, 0.25]))
    convert.convert(run, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == source.read_bytes()
    assert "scale_factor is 0.25, which the original's config says" in capsys.readouterr().out


def test_captions_are_refused_where_no_tokenizer_was_given(place):
    source, run, config = place(experiment(TEXT), original(experiment(TEXT)))
    convert.convert(source, run, config)
    with pytest.raises(InputError, match=r"no tokenizer\.json: expected one of 14 tokens.*bert"):
        runs.describe(run)


def test_without_a_config_the_first_stage_alone_is_taken(place, tmp_path):
    first = c.KLAutoencoder(channels=32, channel_mults=(1, 2), num_res_blocks=1, z_channels=2)
    model = experiment(first_stage=c.FirstStageExperiment(model=first))
    source, run, _ = place(model, original(model))
    convert.convert(source, run)
    assert runs.load_first_stage_config(run).model == first


def test_a_malicious_checkpoint_is_refused(place, tmp_path):
    model = experiment()
    _, run, config = place(model, original(model))
    harm = Call(Global("os", "system"), (f"touch {tmp_path}/harm",))
    state = {key: w for key, w in original(model).items() if "num_updates" not in key}
    bad = write_zip(tmp_path / "bad.ckpt", {"state_dict": state, "hook": harm})
    assert_refused("os.system", tmp_path, bad, run, config)


@pytest.mark.parametrize("wide", [False, True], ids=["as it is", "widened again"])
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_tables_that_were_rounded_to_16_bits_are_of_the_same_process(kind, wide, place):
    model = experiment(latent_scale=0.25)
    state = {k: w.astype(np.dtype(kind)) for k, w in original(model).items()}
    state = {k: w.astype("f") if wide else w for k, w in state.items()}
    source, run, config = place(model, state)
    convert.convert(source, run, config)
    other = replace(model, diffusion=replace(model.diffusion, beta_end=0.25))
    source, again, config = place(other, state)
    with pytest.raises(InputError, match="alphas_cumprod ends at"):
        convert.convert(source, again.with_name("again"), config)


@pytest.mark.parametrize(
    ("marks", "words", "said"),
    [
        (("v_pred", "ztsnr"), {}, ["prediction is v,", "zero_terminal_snr is True,"]),
        ((), {"modelspec.prediction_type": "v"}, ["prediction is v,"]),
        ((), {"ss_v_parameterization": "True"}, ["prediction is v,"]),
        ((), {"prediction_type": "sample", "format": "pt"}, ["prediction is x0,"]),
        ((), {"modelspec.prediction_type": "epsilon", "other": "v"}, []),
    ],
)
def test_what_a_file_says_of_itself_is_contradicted_aloud(marks, words, said, place, capsys):
    model = experiment()
    state = original(model) | {mark: np.zeros(0, "f") for mark in marks}
    source, run, config = place(model, state)
    save_file(dict(read_weights(source)), source, words or None)
    convert.convert(source, run, config)
    warned = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(warned) == len(said)
    for line, words in zip(warned, said, strict=True):
        assert f"the file says that diffusion.{words} and the config, which is followed" in line
    kept = read_weights(run / "aside.safetensors")
    assert set(marks) <= set(kept)


def test_a_first_stage_that_the_file_has_not_is_that_of_a_run(place, tmp_path):
    model = experiment()
    state = original(model)
    rest = {key: w for key, w in state.items() if not key.startswith("first_stage_model.")}
    source, run, config = place(model, rest)
    assert_refused(
        r"there is no first stage \(first_stage_model\.\*\)", tmp_path, source, run, config
    )
    first = {key: w for key, w in state.items() if key.startswith("first_stage_model.")}
    write_weights(tmp_path / "vae.safetensors", first)
    (tmp_path / "first.py").write_text(runs.as_python(model.first_stage))
    convert.convert(tmp_path / "vae.safetensors", tmp_path / "first", tmp_path / "first.py")
    there = replace(model.first_stage, run=str(tmp_path / "first"))
    source, run, config = place(replace(model, first_stage=there), rest)
    convert.convert(source, run, config)
    convert.convert(run, tmp_path / "b.safetensors")
    write_weights(tmp_path / "a.safetensors", state)
    assert_same_files(tmp_path / "b.safetensors", tmp_path / "a.safetensors")


def test_a_fault_of_the_file_is_not_blamed_on_the_tokenizer(place, tmp_path):
    model = experiment(TEXT)
    state = {k: w for k, w in original(model).items() if not k.startswith("model.")}
    source, run, config = place(model, state)
    vocabulary = source.with_name("vocab.txt")
    assert_refused("holds no denoiser", tmp_path, source, run, config, tokenizer=vocabulary)
    whole = {f"module.{key}": w for key, w in original(model).items()}
    source, run, config = place(model, whole)
    convert.convert(source, run, config, tokenizer=vocabulary)


def test_weights_that_are_not_finite_are_named(place, tmp_path):
    model = experiment()
    state = original(model)
    state["model.diffusion_model.out.2.bias"] = np.float32([np.nan, 0])
    source, run, config = place(model, state)
    assert_refused(
        r"model\.diffusion_model\.out\.2\.bias has 1 of 2", tmp_path, source, run, config
    )


@pytest.mark.parametrize("weights", ["openai", "openclip"])
def test_a_text_encoder_under_the_names_of_the_other_is_read(weights, place):
    other = "openclip" if weights == "openai" else "openai"
    model, named = (experiment(replace(CLIP, weights=name)) for name in (weights, other))
    state = original(named)
    source, run, config = place(model, state)
    convert.convert(source, run, config)
    rows = [row for row in named.original_names().table if row.path.startswith("conditioner/")]
    expected = table.rearranged(rows, state)["conditioner"]
    tiny.assert_same(checkpoint.read_part(run, "params", "conditioner"), expected)
    assert runs.load_config(run).conditions[0].weights == weights
