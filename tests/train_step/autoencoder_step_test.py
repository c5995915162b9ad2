"""The objective of the first stage."""

from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ldm_jax.config import Adversary, AutoencoderLoss, Codebook, VQAutoencoder
from ldm_jax.losses.adversarial import adaptive_weight
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.autoencoder import autoencoder_objective, init_helpers
from ldm_jax.train_step.state import make_train_step, new_state
from ldm_jax.types import Perceptual, Reconstruction
from tests.support import tiny

KEY, STEP = jax.random.key(3), jnp.array(5)


def reconstruct(params, images, keys):
    """x -> e d x with a gain d for each colour, regularised by e x."""
    z = params["encoder"] * images
    kl = jnp.mean(jnp.square(z), axis=(1, 2, 3))
    return Reconstruction(params["decoder"]["kernel"] * z, {"kl": kl}, z)


DIMMER = tiny.first_stage(
    reconstruct=reconstruct, parts=("encoder", "decoder"), last_layer=("decoder", "kernel")
)
PARAMS = {"encoder": jnp.array(0.5), "decoder": {"kernel": jnp.array([1.5, 0.5, 1.0])}}
IMAGE = jax.random.uniform(jax.random.key(0), (3, 16, 16, 3), minval=-1.0)
BATCH = {"image": IMAGE, "position": jnp.arange(3)}
BRIGHTNESS = Perceptual(  # twice the difference of mean colours
    None, lambda params, x, y: params * jnp.square(jnp.mean(x - y, axis=(1, 2, 3)))
)


def one(tree):
    return tree


def found(config, params=PARAMS, perceptual=None, step=STEP):
    objective = autoencoder_objective(DIMMER, config, perceptual)
    return jax.jit(lambda params: objective.outcome(params, BATCH, KEY, step, one)[:2])(params)


def assert_gradient(config, gradients, loss, params=PARAMS):
    """The gradients of encoder and decoder are those of `loss(params)`."""
    expected = jax.grad(lambda p: loss({**params, **p}))(PARAMS)
    tiny.assert_close({n: gradients[n] for n in PARAMS}, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["l1", "l2"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(("perceptual", "s"), [(0.0, None), (0.7, None), (0.7, 0.3)])
def test_the_loss_is_the_originals(kind, reduction, perceptual, s):
    """(|x - y| + w p) / exp(s) + s over an image's numbers, and the weighted KL."""
    config = AutoencoderLoss(
        reconstruction=kind,
        reduction=reduction,
        perceptual_weight=perceptual,
        learn_log_variance=s is not None,
        kl_weight=0.1,
    )
    params = {**PARAMS, "perceptual": jnp.array(2.0)}
    if s is not None:
        params["log_variance"] = jnp.array(s)

    def loss(params):
        made = reconstruct(params, IMAGE, None)
        power = {"l1": 1, "l2": 2}[kind]
        p = 2.0 * jnp.square(jnp.mean(IMAGE - made.image, axis=(1, 2, 3)))[:, None, None, None]
        numbers = jnp.abs(IMAGE - made.image) ** power + perceptual * p
        log_variance = params.get("log_variance", 0.0)
        numbers = numbers / jnp.exp(log_variance) + log_variance
        total = jnp.sum(numbers) / 3 if reduction == "sum" else jnp.mean(numbers)
        return total + 0.1 * jnp.mean(made.terms["kl"])

    gradients, metrics = found(config, params, BRIGHTNESS)
    np.testing.assert_allclose(metrics["loss"], loss(params), rtol=1e-5)
    assert_gradient(config, gradients, loss, params)
    if s is not None:
        by_s = jax.grad(lambda s: loss({**params, "log_variance": s}))(jnp.array(s))
        np.testing.assert_allclose(gradients["log_variance"], by_s, rtol=1e-4)


def test_a_stage_with_a_likelihood_of_its_own_is_trained_on_the_bound():
    """-L(x) = -E[log p(x|z)] + KL, and no other distance."""

    def with_likelihood(params, images, keys):
        made = reconstruct(params, images, keys)
        nll = jnp.sum(jnp.abs(images - made.image) ** 3, axis=(1, 2, 3))
        return made._replace(terms={**made.terms, "negative_log_likelihood": nll})

    stage = DIMMER._replace(reconstruct=with_likelihood)
    config = AutoencoderLoss(reconstruction="likelihood", kl_weight=1.0)
    outcome = autoencoder_objective(stage, config).outcome(PARAMS, BATCH, KEY, STEP, one)

    def loss(params):
        return sum(jnp.mean(x) for x in with_likelihood(params, IMAGE, None).terms.values())

    assert_gradient(config, outcome.gradients, loss)
    np.testing.assert_allclose(outcome.metrics["loss"], loss(PARAMS), rtol=1e-5)
    assert outcome.metrics.keys() == {"loss", "negative_log_likelihood", "kl", "psnr"}


def test_what_is_logged():
    config = AutoencoderLoss(
        perceptual_weight=1.0,
        learn_log_variance=True,
        adversary=Adversary(weight=0.5, start=0, layers=1, channels=2, lecam_weight=1, r1_weight=1),
    )
    helpers = init_helpers(DIMMER, config, KEY, PARAMS)
    _, metrics = found(config, {**PARAMS, **helpers, "perceptual": jnp.array(2.0)}, BRIGHTNESS)
    assert metrics.keys() == {
        *("reconstruction", "perceptual", "psnr", "kl", "log_variance", "loss"),
        *("generator", "discriminator", "logits_real", "logits_fake", "adversary_weight"),
        *("r1", "lecam"),
    }
    made = reconstruct(PARAMS, IMAGE, None).image
    error = np.mean(np.square(np.asarray(IMAGE - made, np.float64) / 2), axis=(1, 2, 3))
    np.testing.assert_allclose(metrics["psnr"], np.mean(-10 * np.log10(error)), rtol=1e-5)


PLAYED = AutoencoderLoss(
    reduction="mean", adversary=Adversary(weight=0.5, start=5, layers=1, channels=2)
)
ALONE = replace(PLAYED, adversary=Adversary())
HELPERS = init_helpers(DIMMER, PLAYED, KEY, PARAMS)


def test_the_adversary_is_heeded_in_proportion_to_the_rest():
    """Esser et al. 2021, eq. 7: |grad of the rest| / |grad of the adversary| at the last layer."""
    gradients, metrics = found(PLAYED, {**PARAMS, **HELPERS})
    unweighted = replace(PLAYED.adversary, adaptive=False, weight=1.0)
    alone, _ = found(ALONE)
    with_one, played = found(replace(PLAYED, adversary=unweighted), {**PARAMS, **HELPERS})
    rest = alone["decoder"]["kernel"]
    adversary = with_one["decoder"]["kernel"] - rest
    weight = 0.5 * adaptive_weight(rest, adversary)
    np.testing.assert_allclose(metrics["adversary_weight"], weight, rtol=1e-3)
    np.testing.assert_allclose(gradients["decoder"]["kernel"], rest + weight * adversary, rtol=1e-3)
    np.testing.assert_allclose(
        metrics["loss"],
        metrics["reconstruction"] / IMAGE[0].size
        + 1e-6 * metrics["kl"]
        + weight * played["generator"],
        rtol=1e-4,
    )


def test_before_its_start_the_adversary_neither_learns_nor_is_heeded():
    params = {**PARAMS, **HELPERS}
    before, metrics = found(PLAYED, params, step=jnp.array(4))
    assert metrics["adversary_weight"] == 0
    tiny.assert_same(before["discriminator"], jax.tree.map(jnp.zeros_like, before["discriminator"]))
    alone, _ = found(ALONE)
    tiny.assert_close({n: before[n] for n in PARAMS}, alone, rtol=1e-6)
    after, metrics = found(PLAYED, params, step=jnp.array(5))
    assert metrics["adversary_weight"] > 0
    assert float(optax.tree.norm(after["discriminator"])) > 0


def test_the_discriminator_trains_and_is_not_averaged():
    objective = autoencoder_objective(DIMMER, PLAYED)
    assert objective.trained == ("encoder", "decoder", "discriminator")
    assert objective.averaged == ("encoder", "decoder")


def small(kind):
    """A small first stage on colours: its config's loss, its params and one batch."""
    model = replace(tiny.experiment().first_stage.model, channel_mults=(1,))
    adversary = Adversary(weight=0.2, start=4, layers=1, channels=4)
    if kind == "kl":
        return model.build(), AutoencoderLoss(adversary=adversary)
    shared = {field.name: getattr(model, field.name) for field in fields(model)}
    codebook = Codebook(update=kind, revive_below=0.1)
    loss = AutoencoderLoss(reduction="mean", adversary=adversary, codebook=codebook)
    return VQAutoencoder(**shared, codebook_size=16).build(), loss


@pytest.mark.parametrize("kind", ["kl", "gradient", "ema"])
def test_it_learns_across_the_discriminators_start(kind):
    stage, loss = small(kind)
    objective, adam = autoencoder_objective(stage, loss), optax.adam(1e-2)
    colors = np.array(list(tiny.COLORS.values())) / 127.5 - 1.0
    image = np.broadcast_to(colors[:, None, None], (4, 8, 8, 3)).astype(np.float32)
    batch = {"image": image, "position": np.arange(4, dtype=np.int32)}
    params = tiny.drawn(stage.init)
    params |= init_helpers(stage, loss, KEY, params)
    state, errors = new_state(params, adam, objective), []
    step = devices("jit").parallelize(make_train_step(objective, adam, 0.9), state)
    first = jax.tree.map(np.asarray, params["discriminator"])
    for n in range(30):
        if n == 4:
            tiny.assert_same(state.params["discriminator"], first)
        state, metrics = step(state, {}, batch, jax.random.key(0))
        assert all(np.isfinite(x) for x in metrics.values()), (n, metrics)
        errors.append(float(metrics["reconstruction"]))
    assert errors[-1] < 0.75 * errors[0], errors
    assert not np.array_equal(
        state.params["discriminator"]["conv_out"]["kernel"], first["conv_out"]["kernel"]
    )
    if kind != "kl":
        assert 1 <= metrics["perplexity"] <= 16
        assert not np.array_equal(state.params["quantizer"]["embedding"], params_before(kind))


def params_before(kind):
    stage, _ = small(kind)
    return tiny.drawn(stage.init)["quantizer"]["embedding"]


PARTS = AutoencoderLoss(
    reduction="mean",
    perceptual_weight=0.3,
    learn_log_variance=True,
    codebook=Codebook(update="ema", revive_below=0.1),
    adversary=Adversary(weight=0.2, start=0, layers=1, channels=2, lecam_weight=0.1, r1_weight=0.1),
)


def test_a_batch_in_parts_is_the_batch():
    """Gradients of both sides, the adversary's weight, codes and moving means: of all examples."""
    stage, _ = small("ema")
    params = tiny.drawn(stage.init)
    params |= {**init_helpers(stage, PARTS, KEY, params), "perceptual": jnp.array(2.0)}
    batch = {
        "image": jax.random.uniform(jax.random.key(1), (8, 8, 8, 3), minval=-1.0),
        "position": jnp.arange(8),
    }

    def learned(parts):
        objective = autoencoder_objective(stage, PARTS, BRIGHTNESS, parts)

        @jax.jit
        def both(params):
            outcome = objective.outcome(params, batch, KEY, STEP, one)
            return outcome.gradients, outcome.metrics, outcome.changes(params)

        return both(params)

    whole = learned(1)
    assert whole[1]["adversary_weight"] > 0
    tiny.assert_close(learned(4), whole, rtol=1e-4, atol=1e-6)


def flops(adaptive):
    """Of one step, as compiled, where the decoder is most of the work."""
    model = replace(tiny.experiment().first_stage.model, channel_mults=(1, 2))
    stage = model.build()
    adversary = Adversary(weight=0.2, start=0, layers=1, channels=2, adaptive=adaptive)
    loss = AutoencoderLoss(adversary=adversary)
    objective = autoencoder_objective(stage, loss)
    params = jax.eval_shape(stage.init, KEY)
    params |= jax.eval_shape(lambda: init_helpers(stage, loss, KEY, params))
    outcome = jax.jit(lambda params: objective.outcome(params, BATCH, KEY, STEP, one)[:2])
    return outcome.lower(params).compile().cost_analysis()["flops"]


def test_the_adaptive_weight_needs_no_second_way_back_through_the_decoder():
    """Two gradients at the last layer are a few per cent of a step; the whole way is a third."""
    assert 1.0 < flops(adaptive=True) / flops(adaptive=False) < 1.06
