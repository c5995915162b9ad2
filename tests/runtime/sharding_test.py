"""Placing arrays on however many devices there are; `train/eight_devices_test.py` has eight."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import training
from ldm_jax.config import Mesh, Optim, Train
from ldm_jax.errors import InputError
from ldm_jax.experiments.train import check_batch, check_devices
from ldm_jax.runtime import sharding
from ldm_jax.runtime.sharding import devices, spec_of
from ldm_jax.train_step.optimizer import optimizer
from tests.support import tiny

BATCH = {"x": np.arange(6.0, dtype=np.float32).reshape(3, 2), "position": np.arange(3)}
every_kind = pytest.mark.parametrize("kind", ["jit", "pmap"])


def step(state, frozen, batch, key, average, gather):
    """Adds the batch's mean and a random number to w."""
    mean = average(jnp.mean(batch["x"]))
    return {"w": state["w"] + frozen["u"] * mean + jax.random.normal(key)}, {"mean": mean}


@every_kind
def test_a_lifted_step_is_the_step(kind):
    spread, key = devices(kind), jax.random.key(0)
    batch, one = jax.tree.map(jnp.asarray, BATCH), lambda tree: tree
    expected = step({"w": jnp.ones(4)}, {"u": jnp.ones(4)}, batch, key, one, one)
    state = spread.replicate({"w": jnp.ones(4)})
    found = spread.parallelize(step, state)(
        state, spread.replicate({"u": jnp.ones(4)}), spread.split(BATCH), key
    )
    tiny.assert_close(found, expected, rtol=1e-6)


@every_kind
def test_a_lifted_step_eats_its_state(kind):
    spread = devices(kind)
    state = spread.replicate({"w": jnp.ones(4)})
    frozen = spread.replicate({"u": jnp.ones(4)})
    spread.parallelize(step, state)(state, frozen, spread.split(BATCH), jax.random.key(0))
    assert state["w"].is_deleted()
    assert not frozen["u"].is_deleted()


@every_kind
def test_splitting_keeps_every_example_in_order(kind):
    found = devices(kind).split(BATCH)
    for name, rows in BATCH.items():
        np.testing.assert_array_equal(np.reshape(found[name], rows.shape), rows)


@every_kind
def test_a_target_is_where_placing_puts_it(kind):
    spread, tree = devices(kind), {"a": jnp.ones((2, 3)), "b": jnp.arange(4)}
    target, placed = spread.target(tree), spread.place(tree)
    assert spread.count == jax.device_count()
    for name in tree:
        assert (target[name].shape, target[name].dtype) == (tree[name].shape, tree[name].dtype)
        assert target[name].sharding == placed[name].sharding
        assert placed[name].is_fully_replicated
    tiny.assert_same(placed, tree)


@pytest.mark.parametrize(("size", "such_as"), [(0, 8), (-8, 8), (4, 8), (13, 16), (20, 16)])
def test_a_batch_that_does_not_split_evenly_is_refused(monkeypatch, size, such_as):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    with pytest.raises(
        InputError, match=f"data.batch_size is {size}: .* of 8, .* such as {such_as}$"
    ):
        check_batch(size, "data.batch_size")
    check_batch(16, "data.batch_size")


def test_a_batch_splits_over_data_and_fsdp_and_each_of_its_parts(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    train = Train(mesh=Mesh(fsdp=2, tensor=2), accumulate=3)
    check_batch(12, "data.batch_size", train)
    with pytest.raises(InputError, match=r"multiple of 4, .* times 3, .* such as 24$"):
        check_batch(20, "data.batch_size", train)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Train(mesh=Mesh(fsdp=3)), "train.mesh has fsdp 3 and tensor 1: .* 3, to divide 8"),
        (Train(mesh=Mesh(data=2, fsdp=2)), "data 2 x fsdp 2 x tensor 1 = 4: expected 8"),
        (Train(devices="pmap", mesh=Mesh(fsdp=2)), "fsdp is 2 with train.devices pmap"),
    ],
)
def test_a_mesh_that_the_devices_cannot_form_is_refused(monkeypatch, train, message):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    with pytest.raises(InputError, match=message):
        check_devices(train, "train")


MESH = {"data": 2, "fsdp": 4, "tensor": 2}
SPECS = {  # name, shape -> how it is split
    ("denoiser/down_0_res_0/conv1/kernel", (3, 3, 320, 640)): (None, None, "fsdp", "tensor"),
    ("denoiser/down_0_res_0/conv2/kernel", (3, 3, 640, 640)): (None, None, "tensor", "fsdp"),
    ("denoiser/mid_attn/block_0/self/q/kernel", (320, 320)): ("fsdp", "tensor"),
    ("denoiser/mid_attn/block_0/cross/out/kernel", (320, 320)): ("tensor", "fsdp"),
    ("denoiser/mid_attn/in/kernel", (320, 640)): (None, "fsdp"),  # /ff/in/kernel is another
    ("denoiser/mid_attn/block_0/self/q/kernel", (321, 323)): (),  # no axis divides it
    ("denoiser/mid_attn/block_0/self/q/kernel", (321, 320)): (None, "tensor"),
    ("denoiser/norm_out/scale", (320,)): (),  # too small to split
    ("quantizer/embedding", (8192, 3)): ("fsdp",),
    ("discriminator/conv_2/kernel", (4, 4, 128, 256)): (None, None, None, "fsdp"),
}


@pytest.mark.parametrize(("name", "shape"), SPECS)
def test_arrays_are_split_by_name_and_shape(name, shape):
    assert tuple(spec_of(f"params/{name}", shape, MESH)) == SPECS[name, shape]
    assert tuple(spec_of(f"params/{name}", shape, dict.fromkeys(MESH, 1))) == ()


@pytest.mark.parametrize("kind", ["adamw", "lion", "adafactor", "muon"])
def test_an_optimizers_state_is_split_as_its_params_are(kind):
    params = {"denoiser": {"q": {"kernel": jnp.zeros((256, 512))}}}
    state = jax.eval_shape(optimizer(Optim(kind=kind), 10).init, params)
    found = [
        spec_of(jax.tree_util.keystr(path, simple=True, separator="/"), x.shape, MESH)
        for path, x in jax.tree_util.tree_leaves_with_path(state)
        if x.shape == (256, 512)
    ]
    assert found
    assert {tuple(spec) for spec in found} == {("fsdp", "tensor")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "tensor is 4 and model.num_heads makes 2 heads"),
        ({"head_channels": 2}, "tensor is 4 and conditions.0.num_heads makes 2 heads"),
        ({"head_channels": 8}, "tensor is 4 and model.head_channels makes 1 heads"),
    ],
)
def test_heads_that_tensor_does_not_divide_are_refused(changes, message):
    experiment = tiny.experiment(train=Train(mesh=Mesh(tensor=4)))
    first = training.inherit(experiment.first_stage, experiment.data)
    model = replace(experiment.model, **changes)
    with pytest.raises(InputError, match=message):
        replace(experiment, first_stage=first, model=model).check()


def test_a_summary_says_what_a_device_holds_and_names_what_is_not_divided():
    shapes = {
        "denoiser/q/kernel": jax.ShapeDtypeStruct((512, 512), jnp.float32),
        "denoiser/k/kernel": jax.ShapeDtypeStruct((515, 513), jnp.float32),
        "denoiser/conv_in/kernel": jax.ShapeDtypeStruct((3, 3, 4, 64), jnp.float32),  # no rule
        "denoiser/q/bias": jax.ShapeDtypeStruct((5,), jnp.float32),  # too small for fsdp
    }
    sizes = {"data": 2, "fsdp": 4, "tensor": 1}
    said = sharding._summary("jit", sizes, shapes)
    whole, kernel, conv = 4 * 515 * 513, 512 * 512, 3 * 3 * 4 * 64
    assert sharding.held(shapes, sizes) == whole + kernel + conv + 20
    assert said == (
        "jit over data 2 x fsdp 4: a device holds 1.3 MiB of state of 2.0 MiB; "
        "not divided: 1 arrays, such as denoiser/k/kernel (515, 513)"
    )
    tensor = sharding._summary("jit", {"data": 1, "fsdp": 1, "tensor": 2}, shapes)
    assert tensor.endswith("not divided: 2 arrays, such as denoiser/k/kernel (515, 513)")
    assert sharding._summary("jit", dict.fromkeys(sizes, 1), shapes) == (
        "jit over one device: a device holds 2.0 MiB of state"
    )
