"""Files of others under plain names: what wraps a network, scales its weights or marks a file."""

import ml_dtypes
import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.weights import table
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.formats.plain import plain
from ldm_jax.weights.formats.torch_file import state_dict
from ldm_jax.weights.names.layers import conv, dense

ROWS = [*conv("conv_in", "encoder.conv_in", 3, 4), *dense("out", "decoder.out", 4, 2)]
STATE = {
    key: np.arange(np.prod(shape), dtype="f").reshape(shape) / 8
    for key, shape in table.shapes(ROWS).items()
}
LATER = {key: w + 1 for key, w in STATE.items()}


def under(prefix, state=STATE):
    return {prefix + key: w for key, w in state.items()}


def assert_same(found, state=STATE):
    assert set(found) == set(state)
    for key, w in state.items():
        np.testing.assert_array_equal(found[key], w, err_msg=key)


WRAPPERS = (
    "module.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "_forward_module.",
    "_fsdp_wrapped_module._checkpoint_wrapped_module.",
)


@pytest.mark.parametrize(
    "prefix",
    [*WRAPPERS, "model.", "net.", "model._orig_mod.", "module.model.vae.", "ema_model.module."],
)
def test_what_wraps_a_network_is_left_out(prefix):
    assert_same(plain(under(prefix)))


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_and_what_wraps_a_part_of_it(prefix):
    assert_same(plain({key.replace(".", f".{prefix}", 1): w for key, w in STATE.items()}))


def test_a_denoiser_is_not_left_without_its_prefix():
    assert_same(plain(under("model.diffusion_model.")), under("model.diffusion_model."))
    assert_same(plain(under("module.model.diffusion_model.")), under("model.diffusion_model."))


def test_beside_a_loss_and_counters():
    state = under("model.") | {"loss.logvar": np.zeros(2), "global_step": np.asarray(3)}
    assert set(plain(state)) == {*STATE, "loss.logvar", "global_step"}


def test_two_names_of_one_weight_are_refused():
    with pytest.raises(InputError, match=r"^encoder\.\S+ and module\.encoder\.\S+ are both enc"):
        plain(under("module.") | STATE)


@pytest.mark.parametrize(
    ("ema", "last"),
    [("ema.", "model."), ("ema_model.", "online_model."), ("model_ema.", ""), ("ema.", "")],
)
def test_averages_beside_the_last_weights_replace_them_and_it_is_said(ema, last):
    found = plain(under(last, LATER) | under(ema) | {"initted": np.asarray(True)})
    if last:
        assert_same(found)
        assert found.notes == (f"4 averaged weights ({ema}*) instead of the last ones",)
    found = plain(under(last, LATER) | under(ema))
    assert_same(found)
    part = dict(list(under(ema).items())[:2])  # not of all of them
    assert not plain(under(last, LATER) | part).notes


SCALED = {"encoder.conv_in": np.float32(0.5), "decoder.out": np.asarray([2.0, 4.0], "f")}


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_numbers_of_8_bits_are_read_and_their_scales_multiplied(kind, tmp_path):
    small = {key: np.round(w).astype(ml_dtypes.finfo(kind).dtype) for key, w in STATE.items()}
    write_weights(tmp_path / "a.safetensors", small)
    found = read_weights(tmp_path / "a.safetensors")
    assert {str(found[key].dtype) for key in found} == {kind}
    params = table.to_here(ROWS, found)
    np.testing.assert_array_equal(params["out"]["bias"], np.float32(small["decoder.out.bias"]))

    scales = {f"{name}.scale_weight": np.asarray(scale) for name, scale in SCALED.items()}
    marks = {"scaled_fp8": np.zeros(0, small["decoder.out.bias"].dtype)}
    marks["decoder.out.scale_input"] = np.ones((), "f")
    write_weights(tmp_path / "b.safetensors", small | scales | marks)
    found = read_weights(tmp_path / "b.safetensors")
    assert set(found) == {*STATE, "scaled_fp8"}
    wide = np.float32(small["decoder.out.weight"])
    np.testing.assert_array_equal(found["decoder.out.weight"], wide * [[2], [4]])
    wide = np.float32(small["encoder.conv_in.weight"])
    np.testing.assert_array_equal(found["encoder.conv_in.weight"], wide * 0.5)
    assert table.to_here(ROWS, found)["out"]["bias"].dtype == np.float32


@pytest.mark.parametrize(
    "mark",
    [
        "v_pred",
        "ztsnr",
        "scaled_fp8",
        "edm_vpred.sigma_max",
        "denoiser.sigmas",
        "encoder.norm.num_batches_tracked",
        "text_model.embeddings.position_ids",
        "cond_stage_model.logit_scale",
    ],
)
def test_what_is_no_weight_is_not_unexpected(mark):
    state = STATE | {mark: np.zeros(0)}
    assert not table.mismatches(ROWS, table.shapes_of(state))
    assert table.mismatches(ROWS, table.shapes_of(STATE | {f"{mark}.weight": np.zeros(3)}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_what_is_not_finite_is_refused_by_name(value, kind):
    state = {key: w.astype(np.dtype(kind)) for key, w in STATE.items()}
    state["decoder.out.weight"][1, 2] = value
    with pytest.raises(InputError, match=r"decoder\.out\.weight has 1 of 8 values that are NaN or"):
        table.to_here(ROWS, state)


def test_axes_of_one_at_the_end_are_no_other_shape():
    state = STATE | {"decoder.out.weight": STATE["decoder.out.weight"][:, :, None, None]}
    here = table.to_here(ROWS, state)["out"]["kernel"]
    np.testing.assert_array_equal(here, STATE["decoder.out.weight"].T)


@pytest.mark.parametrize("prefix", ["", "cond_stage_model.transformer."])
@pytest.mark.parametrize(("part", "first"), [("text", "token"), ("vision", "patch")])
def test_an_encoder_of_clip_without_its_prefix(prefix, part, first):
    keys = (f"embeddings.{first}_embedding.weight", "encoder.layers.0.mlp.fc1.bias")
    bare = {prefix + key: np.zeros(1) for key in keys} | {"encoder.x": np.ones(1)}
    assert set(plain(bare)) == {*(f"{prefix}{part}_model.{key}" for key in keys), "encoder.x"}
    whole = plain(bare)
    assert set(plain(whole)) == set(whole)


@pytest.mark.parametrize(
    "names",
    [
        ("model_state_dict",),
        ("module",),
        ("ema",),
        ("model_ema",),
        ("generator_ema", "state_dict"),
        ("state", "weights"),
        ("state_dict", "model"),
    ],
)
def test_weights_in_dicts_of_any_name(names):
    tree = STATE
    for name in reversed(names):
        tree = {
            name: tree,
            "epoch": 1,
            "step": np.asarray(3),
            "optimizer": {"state": {0: {"exp_avg": np.ones(3)}}},
        }
    assert_same(state_dict(tree, "x.pt")[0])


def test_of_two_dicts_of_the_same_weights_averages_are_taken_and_it_is_said():
    tree = {"model": LATER, "ema": STATE, "opt": {"step": np.ones(1)}, "steps": np.asarray(3)}
    found, notes = state_dict(tree, "x.pt")
    assert_same(found)
    assert notes == ("averaged weights (ema) instead of the last ones",)
    found, notes = state_dict(tree | {"ema": {"other": np.ones(1)}}, "x.pt")
    assert_same(found, LATER)
    assert not notes


def test_a_dict_that_holds_itself_is_visited_once():
    tree = {"model": STATE}
    tree |= {f"again{n}": tree for n in range(50)}
    assert_same(state_dict(tree, "x.pt")[0])


def test_scales_of_another_number_than_a_weights_rows_are_named():
    found = plain(STATE | {"decoder.out.scale_weight": np.ones(3, "f")})
    with pytest.raises(
        InputError, match=r"^decoder\.out\.scale_weight has 3 values: expected 1, or 2"
    ):
        found["decoder.out.weight"]


def test_a_dict_for_each_part_of_a_network():
    tree = {
        part: {key.partition(".")[2]: w for key, w in STATE.items() if key.startswith(part)}
        for part in ("encoder", "decoder")
    }
    assert_same(state_dict(tree, "x.pt")[0])
