"""A T2I-Adapter has the keys and shapes of the published ones, in both layouts."""

from dataclasses import replace

import pytest

from ldm_jax.adapters.t2i_adapter import T2IAdapter
from ldm_jax.backbones.unet import UNet, sites
from ldm_jax.weights import table
from ldm_jax.weights.names import t2i_adapter as names
from tests.support import tiny
from tests.support.adapter_keys import published

SD1, SDXL = sites(UNet()), sites(UNet(channel_mults=(1, 2, 4)))
FACTOR = 8
LIGHT = T2IAdapter(size="light", blocks=4)


def test_a_published_file_has_these_keys_and_shapes():
    assert table.shapes(T2IAdapter().table(SD1, FACTOR)) == published("t2iadapter-sd15")


@pytest.mark.parametrize(
    ("config", "places", "values", "keys"),
    [
        (T2IAdapter(), SD1, 77_369_280, 38),
        (T2IAdapter(hint_channels=1), SD1, 77_000_640, 38),
        (LIGHT, SD1, 18_689_200, 80),
        (T2IAdapter(places="sdxl"), SDXL, 79_028_160, 38),
        (T2IAdapter(places="sdxl", hint_channels=1), SDXL, 77_553_600, 38),
    ],
)
def test_published_ones_have_this_size(config, places, values, keys):
    rows = config.table(places, FACTOR)
    assert (table.count(rows), len(table.shapes(rows))) == (values, keys)


def test_diffusers_has_as_many_under_names_of_its_own():
    ours, light = (
        table.shapes(replace(c, layout="diffusers").table(SD1, FACTOR))
        for c in (T2IAdapter(), LIGHT)
    )
    assert (len(ours), len(light)) == (38, 80)
    assert ours["adapter.conv_in.weight"] == (320, 192, 3, 3)
    assert ours["adapter.body.1.in_conv.weight"] == (640, 320, 1, 1)
    assert ours["adapter.body.3.resnets.1.block2.bias"] == (1280,)
    assert light["adapter.body.0.in_conv.weight"] == (80, 192, 1, 1)
    assert light["adapter.body.3.resnets.3.block2.weight"] == (320, 320, 3, 3)
    assert light["adapter.body.3.out_conv.weight"] == (1280, 320, 1, 1)


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("config", [T2IAdapter(blocks=3), LIGHT, T2IAdapter(hint_channels=1)])
@pytest.mark.parametrize("prefix", ["", "adapter."])
def test_a_file_is_recognised_by_its_keys(config, layout, prefix):
    shapes = table.shapes(replace(config, layout=layout).table(SD1, FACTOR))
    shapes = {prefix + key.removeprefix(names.PREFIX): shape for key, shape in shapes.items()}
    found = names.recognised(shapes)
    widths = [320, 640, 1280, 1280]
    into = 64 * config.hint_channels
    assert found == names.Found(layout, config.size, prefix, into, config.blocks, widths)


@pytest.mark.parametrize("name", ["controlnet-sd15", "ip-adapter-plus-sd15"])
def test_files_of_other_kinds_are_not(name):
    assert names.recognised(published(name)) is None
    assert names.recognised({"conv_in.weight": (4, 4, 3, 3)}) is None


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("size", ["full", "light"])
@pytest.mark.parametrize("places", ["sd", "sdxl"])
def test_every_param_has_a_row_and_comes_back(size, layout, places):
    here = sites(UNet(channels=8, channel_mults=(1, 1, 2)))
    config = T2IAdapter(size=size, places=places, layout=layout)
    params = tiny.drawn(config.network(here, 2).init, {})
    state = table.to_original(config.table(here, 2), params)
    assert {key: x.shape for key, x in state.items()} == table.shapes(config.table(here, 2))
    tiny.assert_same(table.to_here(config.table(here, 2), state), params)
