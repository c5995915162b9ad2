"""Every file in configs/ describes a model that can be built, and is saved as it is."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from ldm_jax import cli, runs, training
from ldm_jax import config as c
from ldm_jax.conditioning.condition import find
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.encoders.clip.model import MODELS as PUBLISHED
from ldm_jax.encoders.clip.model import embed_captions, embed_images
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.settings import check_ranges
from ldm_jax.train_step.contrastive import init_clip
from tests.support import tiny, traced_once

ROOT = Path(__file__).parents[2]
CONFIGS = {
    str(path.relative_to(ROOT / "configs").with_suffix("")): path
    for path in sorted((ROOT / "configs").rglob("*.py"))
    if path.stem != "base" and path.parent.name != "cascades"  # tests/sampling/cascade_test.py
}


def those_of(*kinds):
    return {n: path for n, path in CONFIGS.items() if isinstance(cli.load_config(path), kinds)}


MODELS = those_of(c.Experiment)


def of_kind(*kinds):
    paths = those_of(*kinds)
    return pytest.mark.parametrize("path", paths.values(), ids=paths.keys())


every_config = of_kind(
    c.Experiment, c.FirstStageExperiment, c.ClassifierExperiment, c.CLIPExperiment
)
every_model = of_kind(c.Experiment)
every_first_stage = of_kind(c.FirstStageExperiment)
every_classifier = of_kind(c.ClassifierExperiment)
every_clip = of_kind(c.CLIPExperiment)


def resolved(path):
    """The experiment as training sees it, with what its data would say filled in."""
    experiment = cli.load_config(path)
    if isinstance(experiment, c.FirstStageExperiment | c.CLIPExperiment):
        return experiment
    if isinstance(experiment, c.ClassifierExperiment):
        guided = resolved(CONFIGS[Path(experiment.diffusion_run).name])
        seen = {"first_stage": guided.first_stage, "diffusion": guided.diffusion}
        return replace(experiment, **seen, data=guided.data, num_classes=10)
    first_stage = training.inherit(experiment.first_stage, experiment.data)
    experiment = replace(experiment, first_stage=first_stage)
    if any(isinstance(one, c.Label) for one in experiment.conditions):
        experiment = replace(
            experiment, conditions=(replace(experiment.conditions[0], num_classes=10),)
        )
    return experiment


def tokenizer(condition):
    if condition:
        return tokens.learn(["a red circle", "a cat"], condition.vocab_size, condition.length)
    return None


def narrow(network, **changes):
    groups = 4
    return replace(network, channels=2 * groups, norm_groups=groups, num_res_blocks=1, **changes)


def reduced(experiment):
    """The same with narrow networks."""
    unet, first = experiment.model, experiment.first_stage
    small = {"channels": 8, "layers": 1, "num_heads": 2, "dim": 8}
    if isinstance(unet, c.PriorTransformer):
        (caption,) = experiment.conditions
        text = {"dim": 8, "layers": 1, "num_heads": 2, "head_dim": 4, "embedding_dim": 8}
        return replace(
            experiment,
            model=replace(unet, channels=8, layers=1, num_heads=2, vector_dim=8),
            first_stage=replace(first, model=replace(first.model, **small)),
            conditions=(replace(caption, **text),),
        )
    heads = {"head_channels": 4} if unet.head_channels else {"num_heads": 2}
    if not isinstance(first.model, c.Pixels):
        first = replace(first, model=narrow(first.model))
    conditions = []
    for one in experiment.conditions:
        if isinstance(one, c.CLIPText):
            one = replace(one, dim=8, layers=1, num_heads=2, head_dim=4)
        if isinstance(one, c.CLIPCaption):
            one = replace(one, embedding_dim=8)
        if isinstance(one, c.BERTText):
            one = replace(one, layers=1, ff_dim=8)
        if isinstance(one, c.CLIPImage):
            one = replace(one, **small)
        if isinstance(one, c.GLIDEText):
            one = replace(one, dim=8, layers=1, num_heads=2, head_dim=4, vector_dim=32)
        if isinstance(one, c.LowResolution) and one.enlarge:
            one = replace(one, factor=2)
        if isinstance(one, c.UnCLIP | c.EmbeddedImage):
            heads |= {"vector_dim": 16}
        conditions.append(one)
    levels = unet.channel_mults[:2]  # the zoo's depths: weights/model_names_test.py
    attend, alone = (
        tuple(x for x in factors if x < 2 ** len(levels))
        for factors in (unet.attention_factors, unet.cross_only_factors)
    )
    heads |= {"attention_factors": attend, "cross_only_factors": alone}
    unet = narrow(unet, channel_mults=levels, **heads)
    return replace(experiment, model=unet, first_stage=first, conditions=tuple(conditions))


def test_there_are_configs():
    assert {"demo", "cifar10", "emoji", "vae", "autoencoder/kl-f8"} <= CONFIGS.keys()


@every_first_stage
def test_a_first_stage_passes_the_checks_and_makes_images_of_latents(path):
    experiment = resolved(path)
    check_ranges(experiment)
    experiment.check()
    stage, size = experiment.model.build(), experiment.data.image_size

    def there_and_back(key):
        params = stage.init(key)
        z = stage.encode(params, jnp.zeros((2, size, size, 3)), jax.random.split(key))
        return z, stage.decode(params, z)

    z, images = traced_once.shapes(there_and_back, jax.random.key(0))
    assert z.shape == (2, size // stage.factor, size // stage.factor, stage.channels)
    assert images.shape == (2, size, size, 3)


@pytest.mark.parametrize("name", ["autoencoder/kl-f4", "autoencoder/vq-f8"])
def test_a_first_stage_of_the_original_can_be_trained(name):
    """One step of a narrow one, by shapes alone."""
    experiment = resolved(CONFIGS[name])
    first_stage = narrow(experiment.model).build()
    objective = experiment.loss.build(first_stage)
    batch = {"image": jnp.zeros((2, 64, 64, 3)), "position": jnp.arange(2)}

    def step(key):
        params = training.init_first_stage(first_stage, experiment.loss, key)
        outcome = objective.outcome(params, batch, key, jnp.int32(0), lambda tree: tree)
        return params, outcome.gradients, outcome.metrics

    params, gradients, metrics = traced_once.shapes(step, jax.random.key(0))
    assert gradients == {name: params[name] for name in objective.trained}
    assert {"perceptual", "discriminator"} <= params.keys()
    assert all(metric.shape == () for metric in metrics.values())


@every_classifier
def test_a_classifier_sees_the_latents_of_the_model_that_it_names(path):
    experiment = resolved(path)
    check_ranges(experiment)
    experiment.check()
    model, size = experiment.build(), experiment.data.image_size

    def judged(key):
        params = {**model.init(key), "first_stage": model.first_stage.init(key)}
        images = jnp.zeros((2, size, size, 3))
        z = model.first_stage.encode(params["first_stage"], images, jax.random.split(key))
        return model.network(params["classifier"], z, jnp.zeros(2, jnp.int32))

    assert traced_once.shapes(judged, jax.random.key(0)).shape == (2, experiment.num_classes)


@every_clip
def test_images_and_captions_meet_in_one_space(path):
    experiment = resolved(path)
    check_ranges(experiment)
    experiment.check()
    model, size = experiment.build(), experiment.data.image_size

    def pairs(key):
        params = init_clip(model, experiment.loss, key)["clip"]
        tokens = jnp.zeros((2, model.text.length), jnp.int32)
        images = embed_images(model, params, jnp.zeros((2, size, size, 3)))
        return images, embed_captions(model, params, tokens)

    x, y = traced_once.shapes(pairs, jax.random.key(0))
    assert x.shape == y.shape == (2, experiment.model.dim)


def test_vit_b_32_has_the_size_of_the_published_one():
    experiment = resolved(CONFIGS["clip/vit-b-32"])
    model = experiment.build()
    assert model == PUBLISHED["vit_b32"]
    shapes = traced_once.shapes(
        lambda key: init_clip(model, experiment.loss, key), jax.random.key(0)
    )
    assert sum(x.size for x in jax.tree.leaves(shapes)) == 151_277_313


@every_model
def test_it_passes_the_checks_that_training_makes(path):
    experiment = resolved(path)
    check_ranges(experiment)
    experiment.check()
    reduced(experiment).check()
    assert len(experiment.diffusion.build_process().alphas) == experiment.diffusion.steps + 1
    build_sampler(experiment.sampling.sampler)
    sampling.times(experiment.sampling, experiment.diffusion.build_process())


ZOO = ("ldm/", "sd/", "glide/", "dalle2/")
WIDTHS = {"narrow": lambda path: reduced(resolved(path)), "full": resolved}


@pytest.mark.parametrize(  # the zoo's at full size: weights/model_names_test.py
    ("name", "width"),
    [(n, w) for n in MODELS for w in WIDTHS if w == "narrow" or not n.startswith(ZOO)],
)
def test_its_parts_fit_together(name, width):
    """By shapes alone: images to latents, denoised under the condition, and back."""
    experiment = WIDTHS[width](CONFIGS[name])
    model = experiment.build({"tokens": tokenizer(find(experiment.conditions, "tokens"))})
    size = 8 * model.first_stage.factor if width == "narrow" else experiment.data.image_size
    size = size if model.first_stage.images else model.first_stage.factor

    def there_and_back(key):
        params = {**model.init(key), "first_stage": model.first_stage.init(key)}
        z = model.first_stage.encode(
            params["first_stage"], jnp.zeros((2, size, size, 3)), jax.random.split(key)
        )
        cond = model.condition(params, model.conditioner.null(*z.shape[:3]))
        raw = model.denoise(params, z, jnp.zeros(2, jnp.int32), cond)
        decoded = model.first_stage.decode(params["first_stage"], raw[..., : z.shape[-1]])
        return z, raw, decoded

    z, raw, images = traced_once.shapes(there_and_back, jax.random.key(0))
    side = size // model.first_stage.factor
    channels = model.first_stage.channels
    assert z.shape == (2, side, side, channels)
    assert raw.shape == (2, side, side, experiment.outputs * channels)
    assert images.shape == ((2, size, size, 3) if model.first_stage.images else z.shape)


def assert_saves_as_itself(experiment, folder):
    (folder / "config.py").write_text(runs.as_python(experiment))
    assert runs.reader.read(folder / "config.py") == experiment


@every_config
def test_it_is_saved_as_data_that_read_back(path, tmp_path):
    assert_saves_as_itself(cli.load_config(path), tmp_path)
    assert_saves_as_itself(resolved(path), tmp_path)


@pytest.mark.parametrize(
    "experiment",
    [
        c.Experiment(),
        c.FirstStageExperiment(),
        c.Experiment(conditions=(c.Label(num_classes=3),)),
        c.Experiment(conditions=(c.Text(tokenizer='it\'s "here"\\.json'),)),
        c.Experiment(data=c.Data(path="a\nb", background=(0, 1, 2)), optim=c.Optim(clip=None)),
        c.Experiment(optim=c.Optim(lr=1 / 3, weight_decay=1e-30)),
        tiny.experiment(),
    ],
)
def test_any_experiment_is_saved_as_runnable_python(experiment, tmp_path):
    assert_saves_as_itself(experiment, tmp_path)


def test_a_first_stage_reads_the_second_stages_data_unless_it_has_its_own():
    data = c.Data(path="there", image_size=16, split="test", crop="random", flip=True, batch_size=4)
    unconditional = c.FirstStageExperiment()
    assert training.inherit(unconditional, data).data == data
    own = c.FirstStageExperiment(data=c.Data(batch_size=7, split="validation"))
    assert training.inherit(own, data).data == replace(data, batch_size=7, split="validation")
    other = c.FirstStageExperiment(data=c.Data(path="here"))
    assert training.inherit(other, data).data == c.Data(path="here", image_size=16)
