"""An IP-Adapter has the keys and shapes of the published ones, and is known by them."""

import numpy as np
import pytest

from ldm_jax.adapters.ip_adapter import IPAdapter, modules
from ldm_jax.backbones.unet import UNet, sites
from ldm_jax.errors import InputError
from ldm_jax.weights import table
from ldm_jax.weights.names import ip_adapter as names
from tests.support.adapter_keys import published

SD1, WIDTH = sites(UNet()), 768
PLUS = IPAdapter("resampler", tokens=16)


@pytest.mark.parametrize(
    ("name", "config", "values"),
    [
        ("ip-adapter-sd15", IPAdapter(), 22_319_616),
        ("ip-adapter-plus-sd15", PLUS, 49_087_488),
        ("ip-adapter-full-face-sd15", IPAdapter("full"), 21_794_304),
    ],
)
def test_published_files_have_these_keys_and_shapes(name, config, values):
    rows = config.table(SD1, WIDTH)
    assert table.shapes(rows) == published(name)
    assert table.count(rows) == values
    found = names.recognised(published(name))
    read = IPAdapter(**found.settings)
    assert (found.width, found.into) == (WIDTH, config.into)
    assert read.table(SD1, WIDTH) == rows


def test_keys_and_values_are_numbered_down_up_and_middle_with_self_attention_between():
    shapes = published("ip-adapter-sd15")
    of = {i: shapes[f"ip_adapter.{i}.to_k_ip.weight"][0] for i in range(1, 32, 2)}
    assert list(of.values()) == [320] * 2 + [640] * 2 + [1280] * 5 + [640] * 3 + [320] * 3 + [1280]
    paths = {row.keys[0]: row.path for row in IPAdapter().table(SD1, WIDTH)}
    assert paths["ip_adapter.1.to_k_ip.weight"] == "attention/down_0_attn_0/block_0/cross/k/kernel"
    assert paths["ip_adapter.13.to_k_ip.weight"].startswith("attention/up_2_attn_0/")
    assert paths["ip_adapter.31.to_v_ip.weight"] == "attention/mid_attn/block_0/cross/v/kernel"


def test_what_training_writes_is_the_same_by_other_names():
    """Also where keys and values are parts of the UNet."""
    rows = IPAdapter().table(SD1, WIDTH)
    state = {key: np.float32([i]) for i, key in enumerate(table.shapes(rows))}
    other = {
        key.replace("image_proj.", "image_proj_model.").replace(
            "ip_adapter.", "adapter_modules."
        ): x
        for key, x in state.items()
    }
    inside = {key: x for key, x in other.items() if key.startswith("image_proj_model.")}
    layers = modules(SD1)
    assert layers[-1] == "mid_block.attentions.0.transformer_blocks.0.attn2"
    for i, layer in enumerate(layers):
        for part in "kv":
            inside[f"unet.{layer}.processor.to_{part}_ip.weight"] = state[
                f"ip_adapter.{2 * i + 1}.to_{part}_ip.weight"
            ]
    inside["unet.conv_in.weight"] = np.float32([0])
    for file in (state, other, inside):
        found = names.published(file, lambda: layers)
        assert {key: float(found[key][0]) for key in found} == {
            k: float(x[0]) for k, x in state.items()
        }


def test_other_files_are_not_read():
    for name in ("controlnet-sd15", "t2iadapter-sd15"):
        assert names.published(dict.fromkeys(published(name)), list) is None
    with pytest.raises(InputError, match="FaceID is not known"):
        names.recognised({"image_proj.proj.0.weight": (4, 4), "image_proj.norm.weight": (4,)})
