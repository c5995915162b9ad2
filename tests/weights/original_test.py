"""What a file of the original holds besides a first stage is left out, and said."""

import numpy as np

from ldm_jax.weights import original

FIRST_STAGE = {
    "encoder.conv_in.weight": np.ones(1, "f"),
    "quantize.embedding.weight": np.ones(2, "f"),
}
LOSS = {"loss.logvar": np.zeros(()), "loss.discriminator.main.0.weight": np.zeros(3)}
AVERAGES = {
    "model_ema.decay": np.zeros(()),
    "model_ema.num_updates": np.zeros(()),
    "model_ema.encoderconv_inweight": np.full(1, 3, "f"),
    "model_ema.quantizeembeddingweight": np.full(2, 4, "f"),
}


def under(prefix, state):
    return {prefix + key: w for key, w in state.items()}


def test_a_first_stage_alone():
    found = original.first_stage(FIRST_STAGE)
    assert dict(found.state) == FIRST_STAGE
    assert (found.scale, found.notes) == (1.0, ())


def test_the_loss_that_trained_it_is_left_out():
    found = original.first_stage(FIRST_STAGE | LOSS)
    assert dict(found.state) == FIRST_STAGE
    assert found.notes == ("2 weights of the loss that trained it (loss.*) are left out",)


def test_averaged_weights_come_first():
    found = original.first_stage(FIRST_STAGE | AVERAGES)
    assert found.state.keys() == FIRST_STAGE.keys()
    assert found.state["encoder.conv_in.weight"] == 3
    assert found.state["quantize.embedding.weight"].tolist() == [4, 4]
    assert found.notes == ("4 averaged weights (model_ema.*) instead of the last ones",)


def test_averages_of_a_part_of_the_weights_do_not():
    some = {k: w for k, w in AVERAGES.items() if "quantize" not in k}
    found = original.first_stage(FIRST_STAGE | some)
    assert dict(found.state) == FIRST_STAGE
    assert found.notes == ("3 averaged weights (model_ema.*) are left out: some are missing",)


def test_a_first_stage_inside_a_larger_checkpoint():
    rest = {"model.diffusion_model.out.2.bias": np.zeros(1), "betas": np.zeros(1000)}
    rest |= under("cond_stage_model.", FIRST_STAGE) | AVERAGES
    inside = under("first_stage_model.", FIRST_STAGE | LOSS)
    found = original.first_stage(rest | inside)
    assert dict(found.state) == FIRST_STAGE
    assert found.scale == 1.0
    larger, scale, loss = found.notes
    assert larger == "a first stage inside a larger checkpoint: 8 other weights are left out"
    assert scale.startswith("the file does not have the scale of its latents (scale_factor)")
    assert loss == "2 weights of the loss that trained it (loss.*) are left out"

    found = original.first_stage(rest | inside | {"scale_factor": np.asarray(0.25)})
    assert found.scale == 0.25
    assert len(found.notes) == 2


def test_a_weight_is_read_when_requested():
    class Reading(dict):
        def __getitem__(self, key):
            raise AssertionError(key)

    assert set(original.first_stage(Reading(FIRST_STAGE | LOSS)).state) == FIRST_STAGE.keys()
