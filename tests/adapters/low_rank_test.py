"""LoRA, LoHa, LoKr and DoRA: the change of a weight, in the layout of files, is that of the paper,
and what is read from a file is written again bit for bit."""

import functools
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.adapters.adapter import merged
from ldm_jax.adapters.loha import LoHa
from ldm_jax.adapters.lokr import LoKr, divided
from ldm_jax.adapters.lora import LoRA
from ldm_jax.config import Inpainting
from ldm_jax.errors import InputError
from ldm_jax.weights.names.lora_keys import METADATA
from tests.parity.cases.drawn import normal
from tests.support import low_rank

EXPERIMENT = low_rank.experiment()
BASE = low_rank.base(EXPERIMENT)
KINDS = (LoRA, LoHa, LoKr)
BLOCK = "down_blocks_0_attentions_0_transformer_blocks_0"
LINEAR, OUT, IN = f"lora_unet_{BLOCK}_ff_net_2", 8, 32  # a linear layer [8, 32]
CONV = "lora_unet_down_blocks_0_resnets_0_conv1"  # a convolution [8, 8, 3, 3]
WEIGHT = {
    LINEAR: "unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.weight",
    CONV: "unet.down_blocks.0.resnets.0.conv1.weight",
}


def array(name: str, *shape: int) -> np.ndarray:
    return normal(name, shape)


def file(module: str, **shapes) -> dict[str, np.ndarray]:
    """Drawn arrays of a layer, by their parts."""
    return {f"{module}.{name}": array(name, *shape) for name, shape in shapes.items()}


def read(arrays: dict, metadata: dict | None = None):
    """The settings and the params in a file, which one kind alone knows."""
    found = [x for kind in KINDS if (x := kind.of_file(arrays, metadata or {}, BASE))]
    assert len(found) == 1
    return found[0]


def weight(params: dict, module: str) -> np.ndarray:
    return low_rank.published(EXPERIMENT, params)[WEIGHT[module]]


BEFORE = low_rank.params(EXPERIMENT)


def change(arrays: dict, module: str, scale: float = 1.0, **settings) -> np.ndarray:
    """What a file adds to a weight [O, I, ...]."""
    config, own = read(arrays)
    moved = low_rank.changed(EXPERIMENT, replace(config, **settings), own, scale)
    return weight(moved, module) - weight(BEFORE, module)


def lora(a):
    return a["lora_up"] @ a["lora_down"]


def tucker(mid, up, down):
    """Of [r, O] and [r, I]."""
    return np.einsum("ijkl,ip,jr->prkl", mid, up, down)


def locon_tucker(a):
    down, up = a["lora_down"][..., 0, 0], a["lora_up"][..., 0, 0].T
    return tucker(a["lora_mid"], up, down)


def hadamard(a):
    return (a["hada_w1_a"] @ a["hada_w1_b"]) * (a["hada_w2_a"] @ a["hada_w2_b"])


def hadamard_tucker(a):
    each = (tucker(a[f"hada_t{n}"], a[f"hada_w{n}_a"], a[f"hada_w{n}_b"]) for n in (1, 2))
    return next(each) * next(each)


def kronecker(a, w2):
    w1 = a.get("lokr_w1")
    w1 = a["lokr_w1_a"] @ a["lokr_w1_b"] if w1 is None else w1
    return np.kron(w1.reshape(*w1.shape, *[1] * (w2.ndim - 2)), w2)


CASES = {  # name -> layer, shapes of its parts, rank, and what they are
    "LoRA": (LINEAR, {"lora_down": (3, IN), "lora_up": (OUT, 3)}, 3, lora),
    "LoCon": (
        CONV,
        {"lora_down": (3, 8, 3, 3), "lora_up": (8, 3, 1, 1)},
        3,
        lambda a: np.einsum("or,rikl->oikl", a["lora_up"][..., 0, 0], a["lora_down"]),
    ),
    "LoCon in Tucker's form": (
        CONV,
        {"lora_down": (3, 8, 1, 1), "lora_mid": (3, 3, 3, 3), "lora_up": (8, 3, 1, 1)},
        3,
        locon_tucker,
    ),
    "LoHa": (
        LINEAR,
        {"hada_w1_a": (8, 3), "hada_w1_b": (3, IN), "hada_w2_a": (8, 3), "hada_w2_b": (3, IN)},
        3,
        hadamard,
    ),
    "LoHa of a convolution": (
        CONV,
        {"hada_w1_a": (8, 3), "hada_w1_b": (3, 72), "hada_w2_a": (8, 3), "hada_w2_b": (3, 72)},
        3,
        lambda a: hadamard(a).reshape(8, 8, 3, 3),
    ),
    "LoHa in Tucker's form": (
        CONV,
        {f"hada_w{n}_{x}": (3, 8) for n in (1, 2) for x in "ab"}
        | {"hada_t1": (3, 3, 3, 3), "hada_t2": (3, 3, 3, 3)},
        3,
        hadamard_tucker,
    ),
    "LoKr": (
        LINEAR,
        {"lokr_w1": (2, 4), "lokr_w2_a": (4, 3), "lokr_w2_b": (3, 8)},
        3,
        lambda a: kronecker(a, a["lokr_w2_a"] @ a["lokr_w2_b"]),
    ),
    "LoKr of a convolution": (
        CONV,
        {"lokr_w1_a": (2, 3), "lokr_w1_b": (3, 4), "lokr_w2_a": (4, 3), "lokr_w2_b": (3, 18)},
        3,
        lambda a: kronecker(a, (a["lokr_w2_a"] @ a["lokr_w2_b"]).reshape(4, 2, 3, 3)),
    ),
    "LoKr in Tucker's form": (
        CONV,
        {"lokr_w1": (2, 4), "lokr_t2": (3, 3, 3, 3), "lokr_w2_a": (3, 4), "lokr_w2_b": (3, 2)},
        3,
        lambda a: kronecker(a, tucker(a["lokr_t2"], a["lokr_w2_a"], a["lokr_w2_b"])),
    ),
    "LoKr of whole factors": (
        CONV,
        {"lokr_w1": (2, 4), "lokr_w2": (4, 2, 3, 3)},
        None,  # whatever alpha is, its scale is 1
        lambda a: kronecker(a, a["lokr_w2"]),
    ),
}


def of_case(name: str) -> tuple[str, dict, int | None, np.ndarray]:
    """The layer of a case, its file, its rank, and the product of its parts."""
    module, shapes, rank, product = CASES[name]
    whole = product({leaf: array(leaf, *shape) for leaf, shape in shapes.items()})
    ends = {leaf: f"{leaf}.weight" if leaf.startswith("lora") else leaf for leaf in shapes}
    arrays = {f"{module}.{ends[leaf]}": array(leaf, *shape) for leaf, shape in shapes.items()}
    return module, arrays, rank, whole


@pytest.mark.parametrize("name", CASES)
def test_the_change_of_a_weight_is_the_product_times_alpha_over_the_rank(name):
    module, arrays, rank, whole = of_case(name)
    np.testing.assert_allclose(change(arrays, module), whole, rtol=1e-4, atol=1e-5)
    arrays[f"{module}.alpha"] = np.float32(2.0)
    factor = 0.7 * (2 / rank if rank else 1)
    np.testing.assert_allclose(change(arrays, module, 0.7), factor * whole, rtol=1e-4, atol=1e-5)


MAGNITUDES = {"rows": lambda n: array("m", n, 1), "columns": lambda n: array("m", 1, n)}


def norms(w: np.ndarray, along: str) -> np.ndarray:
    axes = tuple(i for i in range(w.ndim) if i != ("rows", "columns").index(along))
    return np.sqrt(np.sum(w**2, axis=axes, keepdims=True))


@pytest.mark.parametrize("along", ("rows", "columns"))
@pytest.mark.parametrize("name", ("LoRA", "LoCon", "LoHa", "LoKr of a convolution"))
def test_dora_scales_rows_or_columns_to_their_magnitudes(name, along):
    module, arrays, _, whole = of_case(name)
    ones = [1] * (whole.ndim - 2)
    size = whole.shape[("rows", "columns").index(along)]
    magnitude = np.abs(MAGNITUDES[along](size)).reshape(*MAGNITUDES[along](size).shape, *ones)
    arrays[f"{module}.dora_scale"] = magnitude
    w = weight(BEFORE, module)
    directed = (w + whole) / norms(w + whole, along)
    for scaled in ("change", "delta", "magnitude"):
        found = change(arrays, module, dora_scaled=scaled)
        np.testing.assert_allclose(w + found, magnitude * directed, rtol=1e-4, atol=1e-5)
    m, half = magnitude, 0.5
    smaller = w + half * whole
    at_half = {
        "change": w + half * (m * directed - w),
        "delta": m * smaller / norms(smaller, along),
        "magnitude": (w + whole) * (1 + half * (m / norms(w + whole, along) - 1)),
    }
    for scaled, expected in at_half.items():
        found = w + change(arrays, module, half, dora_scaled=scaled)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=scaled)


MANY = {
    "target_modules": ("to_q", "conv1", "net.2", "q_proj", "v_proj"),
    "rank_pattern": (("attn1.to_q", 1), ("conv1", 3)),
    "alpha_pattern": (("q_proj", 3.0),),
    "rank": 2,
    "alpha": 1.0,
}
SETTINGS = {
    "LoRA": LoRA(**MANY),
    "LoRA scaled by the root of the rank": LoRA(**MANY, rslora=True),
    "LoCon in Tucker's form": LoRA(**MANY, tucker=True),
    "DoRA of rows": LoRA(**MANY, dora="rows"),
    "DoRA of columns": LoRA(**MANY, dora="columns"),
    "LoHa": LoHa(**MANY),
    "LoHa in Tucker's form": LoHa(**MANY, tucker=True),
    "LoKr": LoKr(**MANY),
    "LoKr of low rank twice": LoKr(**MANY, tucker=True, decompose_both=True, decompose_factor=8),
    "LoKr of a factor": LoKr(**MANY, decompose_factor=4),
}


@functools.cache
def fresh(config) -> dict:
    return config.build(BASE).init(jax.random.key(0), BEFORE)


def trained(config) -> dict:
    """Params away from where they begin, as a file of `config.dtype` has them."""
    leaves, tree = jax.tree.flatten(fresh(config))
    dtype = jnp.dtype(config.dtype)
    moved = [
        np.asarray(np.abs(x + array(f"{i}", *x.shape)).astype(dtype), np.float32)
        for i, x in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, moved)


def assert_equal(a: dict, b: dict) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("name", SETTINGS)
def test_as_they_begin_they_change_nothing(name):
    config = SETTINGS[name]
    own = fresh(config)
    assert len({path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(own)}) == 2
    moved = low_rank.changed(EXPERIMENT, config, own, 0.7)
    assert_equal({part: moved[part] for part in BEFORE}, BEFORE)


@pytest.mark.parametrize("layout", ("kohya", "peft", "diffusers"))
@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_written_is_read_bit_for_bit(name, layout):
    """The parts, the settings with which they change the same, and those that train the same."""
    config = replace(SETTINGS[name], layout=layout, dtype="float16")
    own = trained(config)
    odd = layout == "diffusers" and not name.startswith("LoRA")
    odd |= layout == "peft" and name in ("DoRA of columns", "LoCon in Tucker's form")
    if odd:
        with pytest.raises(InputError, match=f"layout is {layout}, .*: expected kohya"):
            config.to_file(own, BASE)
        return
    arrays, metadata = config.to_file(own, BASE)
    assert {x.dtype for x in arrays.values() if x.ndim} == {np.dtype("float16")}
    again, same = read(arrays, metadata)
    assert_equal(same, own)
    assert (again.layout, again.dtype) == (layout, "float16")
    if not config.dora:
        each = (low_rank.changed(EXPERIMENT, c, own, 0.7) for c in (again, config))
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), *each)
    drawn = jax.eval_shape(again.build(BASE).init, jax.random.key(0), BEFORE)
    assert jax.tree.map(lambda x: x.shape, drawn) == jax.tree.map(lambda x: x.shape, own)
    back, more = again.to_file(same, BASE)
    assert back.keys() == arrays.keys()
    assert more == metadata
    for key, x in back.items():
        np.testing.assert_array_equal(x, arrays[key])


UNET_LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
ORIGINAL = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_out_0"
OLD_LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out"
TEXT_LAYER = "text_model.encoder.layers.0.self_attn.k_proj"
NAMES = {  # a layer of the UNet, or of the text encoder -> how files begin and end its keys
    "unet": {
        "kohya": (f"lora_unet_{UNET_LAYER.replace('.', '_')}", ".lora_down", ".lora_up"),
        "kohya in the original's names": (ORIGINAL, ".lora_down", ".lora_up"),
        "LyCORIS": (f"lycoris_{UNET_LAYER.replace('.', '_')}", ".lora_down", ".lora_up"),
        "PEFT": (f"base_model.model.{UNET_LAYER}", ".lora_A", ".lora_B"),
        "PEFT with an adapter's name": (
            f"unet.base_model.model.{UNET_LAYER}",
            ".lora_A.default",
            ".lora_B.default",
        ),
        "diffusers": (f"unet.{UNET_LAYER}", ".lora.down", ".lora.up"),
        "diffusers with PEFT's": (f"unet.{UNET_LAYER}", ".lora_A", ".lora_B"),
        "diffusers 0.12": (f"unet.{OLD_LAYER}", "_lora.down", "_lora.up"),
        "diffusers' first": (OLD_LAYER, "_lora.down", "_lora.up"),
    },
    "text_encoder": {
        "kohya": (f"lora_te_{TEXT_LAYER.replace('.', '_')}", ".lora_down", ".lora_up"),
        "kohya of one of two": (
            f"lora_te1_{TEXT_LAYER.replace('.', '_')}",
            ".lora_down",
            ".lora_up",
        ),
        "PEFT": (f"base_model.model.{TEXT_LAYER}", ".lora_A", ".lora_B"),
        "transformers 5": (
            f"text_encoder.{TEXT_LAYER.removeprefix('text_model.')}",
            ".lora_A",
            ".lora_B",
        ),
        "diffusers": (
            f"text_encoder.{TEXT_LAYER}",
            ".lora_linear_layer.down",
            ".lora_linear_layer.up",
        ),
        "diffusers 0.12": (
            f"text_encoder.{TEXT_LAYER.replace('k_proj', 'to_k')}",
            "_lora.down",
            "_lora.up",
        ),
    },
}


@pytest.mark.parametrize(
    ("component", "name"), [(part, name) for part, names in NAMES.items() for name in names]
)
def test_the_same_layer_is_found_by_each_of_its_names(component, name):
    start, down, up = NAMES[component][name]
    _, own = read(
        {f"{start}{down}.weight": array("d", 2, 8), f"{start}{up}.weight": array("u", 8, 2)}
    )
    parts = {"down": array("d", 2, 8).T, "up": array("u", 8, 2).T}
    if component == "unet":
        block = {"block_0": {"self": {"out": {"kernel": parts}}}}
        expected = {"denoiser": {"down_0_attn_0": block}}
    else:
        expected = {"conditioner": {"block_0": {"qkv": {"kernel": {"k": parts}}}}}
    assert_equal(own, expected)


@pytest.mark.parametrize("weights", ("openai", "openclip"))
def test_keys_of_a_text_encoder_change_their_third_of_q_k_and_v(weights):
    """Also where the file of the base has the three as one."""
    of = low_rank.experiment(weights=weights)
    name = f"text_encoder.{TEXT_LAYER}.weight"
    up, down = array("u", 8, 2), array("d", 2, 8)
    key = f"lora_te_{TEXT_LAYER.replace('.', '_')}"
    arrays = {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}
    config, own = LoRA.of_file(arrays, {}, low_rank.base(of))
    before = low_rank.published(of, low_rank.params(of))
    after = low_rank.published(of, low_rank.changed(of, config, own))
    np.testing.assert_allclose(after[name] - before[name], up @ down, rtol=1e-4, atol=1e-5)
    assert [key for key in before if np.any(before[key] != after[key])] == [name]


def test_several_sum_and_each_has_its_scale():
    configs = {"a": SETTINGS["LoRA"], "b": SETTINGS["LoKr"]}
    own = {name: trained(config) for name, config in configs.items()}
    adapters = {name: config.build(BASE) for name, config in configs.items()}
    both = merged(adapters, {**BEFORE, "adapters": own}, {"a": 0.5, "b": -1.0})
    alone = [
        low_rank.changed(EXPERIMENT, configs[name], own[name], scale)
        for name, scale in (("a", 0.5), ("b", -1.0))
    ]
    for part in BEFORE:
        each = (tree[part] for tree in (both, *alone, BEFORE))
        jax.tree.map(
            lambda x, a, b, w: np.testing.assert_allclose(x, a + b - w, rtol=1e-4, atol=1e-5), *each
        )


def test_sums_are_in_float32_and_the_result_of_the_weights_type():
    config, own = SETTINGS["LoRA"], trained(SETTINGS["LoRA"])
    half = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), BEFORE)
    moved = config.build(BASE).weights(own, half, 1.0)
    wide = config.build(BASE).weights(own, jax.tree.map(jnp.float32, half), 1.0)
    assert_equal(moved, jax.tree.map(lambda x: x.astype(jnp.bfloat16), wide))


@pytest.mark.parametrize(
    ("size", "factor", "expected"),
    [(1280, -1, (32, 40)), (320, 8, (8, 40)), (4, 8, (2, 2)), (768, 4, (4, 192)), (7, -1, (1, 7))],
)
def test_kronecker_factors_are_the_divisors_nearest_to_the_root(size, factor, expected):
    assert divided(size, factor) == expected


def test_patterns_are_of_the_end_of_a_name_and_the_first_counts():
    config = LoRA(rank=4, alpha=2.0, rank_pattern=(("to_q", 1), ("attn1.to_q", 9)))
    assert config.rank_of("unet.x.attn1.to_q") == 1
    assert config.rank_of("unet.x.into_q") == 4
    assert config.factor("x", 4) == 0.5
    assert replace(config, rslora=True).factor("x", 4) == 1.0
    assert replace(config, alpha=None, rslora=True).factor("x", 4) == 1.0


def test_alpha_of_peft_is_in_its_settings():
    start = f"unet.base_model.model.{UNET_LAYER}"
    arrays = {
        f"{start}.lora_A.weight": array("d", 4, 8),
        f"{start}.lora_B.weight": array("u", 8, 4),
    }
    said = {"unet.r": 4, "unet.lora_alpha": 8, "unet.use_rslora": True}
    config, _ = read(arrays, {METADATA: json.dumps(said)})
    assert config.factor(f"unet.{UNET_LAYER}", 4) == 4.0
    said["unet.alpha_pattern"] = {"to_out.0": 2}
    config, _ = read(arrays, {METADATA: json.dumps(said)})
    assert config.factor(f"unet.{UNET_LAYER}", 4) == 1.0


def test_a_first_convolution_of_plain_latents_meets_one_of_inpainting():
    of = low_rank.experiment()
    of = replace(of, conditions=(*of.conditions, Inpainting()))
    key = "lora_unet_conv_in"
    arrays = {
        f"{key}.lora_down.weight": array("d", 2, 4, 3, 3),
        f"{key}.lora_up.weight": array("u", 8, 2, 1, 1),
    }
    _, own = LoRA.of_file(arrays, {}, low_rank.base(of))
    down = own["denoiser"]["conv_in"]["kernel"]["down"]
    assert down.shape == (3, 3, 9, 2)
    assert not np.any(down[:, :, 4:])
    np.testing.assert_array_equal(down[:, :, :4], array("d", 2, 4, 3, 3).transpose(2, 3, 1, 0))


def test_linear_layers_of_files_meet_1x1_convolutions():
    key = "lora_unet_down_blocks_0_attentions_0_proj_in"
    for ones in ((), (1, 1)):
        arrays = {
            f"{key}.lora_down.weight": array("d", 2, 8).reshape(2, 8, *ones),
            f"{key}.lora_up.weight": array("u", 8, 2).reshape(8, 2, *ones),
        }
        _, own = read(arrays)
        parts = own["denoiser"]["down_0_attn_0"]["in"]["kernel"]
        np.testing.assert_array_equal(parts["down"], array("d", 2, 8).T)


def pair(name: str, rank: int = 2, i: int = 8, o: int = 8) -> dict:
    down, up = f"{name}.lora_down.weight", f"{name}.lora_up.weight"
    return {down: array("d", rank, i), up: array("u", o, rank)}


Q, CROSS = f"lora_unet_{BLOCK}_attn1_to_q", f"lora_unet_{BLOCK}_attn2_to_k"
REFUSED = {
    r"1 of the 3 layers of this LoRA are layers of the base, .*: expected all; not a, b": (
        pair(Q) | pair("a") | pair("b")
    ),
    r"this LoRA is of Stable Diffusion 1 \(by .*\), and the base is a model of tokens of width 8": (
        pair(CROSS, i=768)
    ),
    r"this LoRA is of Stable Diffusion XL \(by lora_te2_x.lora_down": pair("lora_te2_x"),
    r"attn1.to_q has lora_down \(2, 8\) of rank 2 and lora_up \(8, 3\) of rank 3: expected one": (
        pair(Q) | {f"{Q}.lora_up.weight": array("u", 8, 3)}
    ),
    r"attn1.to_q has lora_down of shape \(2, 9\): expected \(2, 8\), for a weight of \(8, 8\)": (
        pair(Q, i=9)
    ),
    r"attn1.to_q has lora_down: expected lora_up, too": {f"{Q}.lora_down.weight": array("d", 2, 8)},
    r"attn1.to_q has alpha -1.0: expected a number above 0": (
        pair(Q) | {f"{Q}.alpha": np.float32(-1)}
    ),
    r"lora_down has 1 of 16 values that are NaN or infinite": (
        pair(Q) | {f"{Q}.lora_down.weight": np.where(np.arange(16).reshape(2, 8), 1, np.nan)}
    ),
    r"attn1.to_q has dora_scale of shape \(3,\): expected \[8, 1\] or \[1, 8\]": (
        pair(Q) | {f"{Q}.dora_scale": array("m", 3)}
    ),
    r"this LoRA has hada_w1_a, too: expected parts of one kind": (
        pair(Q) | {f"{Q}.hada_w1_a": array("a", 8, 2)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_files_that_do_not_fit_are_refused(message):
    with pytest.raises(InputError, match=message):
        LoRA.of_file(REFUSED[message], {}, BASE)


def test_files_of_other_adapters_are_none():
    assert LoRA.of_file({"controlnet_mid_block.weight": array("w", 1)}, {}, BASE) is None
    assert LoHa.of_file(pair(Q), {}, BASE) is None
    face = {"image_proj.x": array("w", 1), **pair("ip_adapter.1.to_q")}
    assert LoRA.of_file(face, {}, BASE) is None


def test_unknown_target_modules_are_refused_with_the_nearest_name():
    with pytest.raises(InputError, match=r"adapter.target_modules has 'to_qq'.*mean 'to_q'\?"):
        LoRA(target_modules=("to_k", "to_qq")).check(BASE)
    with pytest.raises(InputError, match=r"adapter.rank_pattern is '\('"):
        LoRA(rank_pattern=(("(", 2),)).check(BASE)
    LoRA(target_modules=("to_k", "ff.net.2", "self_attn.q_proj")).check(BASE)
