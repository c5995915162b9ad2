"""LoRAs whose layers have numbers for names: the order in which PyTorch finds them."""

import json

import numpy as np
import pytest

from ldm_jax.adapters.lora import LoRA
from ldm_jax.errors import InputError
from ldm_jax.weights.names.lora import modules
from ldm_jax.weights.names.lora_ordered import ordered
from tests.parity.cases import drawn
from tests.support import low_rank

EXPERIMENT = low_rank.experiment()
BASE, EVERY = low_rank.base(EXPERIMENT), modules(EXPERIMENT)
OF = {of: [m for m in EVERY if m.component == of] for of in ("unet", "text_encoder")}
SAID = {
    "unet": json.dumps(["GEGLU", "CrossAttention", "Attention"]),
    "text_encoder": json.dumps(["CLIPAttention"]),
}


def file(early: bool) -> tuple[dict, dict]:
    """Arrays by numbers, and the change of each layer by its name."""
    arrays, changes = {}, {}
    for of, known in OF.items():
        for i, module in enumerate(ordered(of, known, True, early)):
            out, into = module.shape[:2]
            up, down = drawn.normal(f"{of} up {i}", (out, 2)), drawn.normal(f"{of} {i}", (2, into))
            arrays |= {f"{of}:{i}:up": up, f"{of}:{i}:down": down}
            changes[f"{module.name}.weight"] = up @ down
    return arrays, changes


def names(*which) -> list[str]:
    return [module.inner for module in ordered(*which)]


def test_layers_are_counted_down_up_and_then_the_middle():
    found = names("unet", OF["unet"], True, True)
    block = [f"attn1.{x}" for x in ("to_q", "to_k", "to_v", "to_out.0")] + ["ff.net.0.proj"]
    block += [f"attn2.{x}" for x in ("to_q", "to_k", "to_v", "to_out.0")]
    places = ["down_blocks.0.attentions.0", *(f"up_blocks.1.attentions.{i}" for i in range(2))]
    places += ["mid_block.attentions.0"]
    assert found == [f"{place}.transformer_blocks.0.{x}" for place in places for x in block]
    late = names("unet", OF["unet"], True, False)
    assert late[:9] == [found[i] for i in (0, 1, 2, 3, 5, 6, 7, 8, 4)]
    assert names("unet", OF["unet"], False, True) == [x for x in found if "ff" not in x]
    text = [x.removeprefix("text_model.") for x in names("text_encoder", OF["text_encoder"], 1, 1)]
    assert text == [f"encoder.layers.0.self_attn.{x}_proj" for x in ("k", "v", "q", "out")]


@pytest.mark.parametrize("early", [True, False])
def test_each_layer_is_changed_by_its_own_numbers(early):
    arrays, changes = file(early)
    config, own = LoRA.of_file(arrays, SAID, BASE)
    assert config.rank == 2 and config.alpha is None
    before = low_rank.published(EXPERIMENT, low_rank.params(EXPERIMENT))
    after = low_rank.published(EXPERIMENT, low_rank.changed(EXPERIMENT, config, own, 0.5))
    for name, x in after.items():
        change = np.reshape(x - before[name], (len(x), -1))
        np.testing.assert_allclose(change, 0.5 * changes.pop(name, 0 * change), atol=1e-5)
    assert not changes


def test_embeddings_beside_it_are_left_out_and_named(capsys):
    arrays, _ = file(True)
    with_word = {**arrays, "<s1>": np.zeros(8, np.float32)}
    assert LoRA.of_file(with_word, SAID, BASE)[0] == LoRA.of_file(arrays, SAID, BASE)[0]
    assert "embeddings, too, which are not read: <s1>" in capsys.readouterr().out


def test_other_layers_are_refused():
    arrays, _ = file(True)
    fewer = {key: x for key, x in arrays.items() if not key.startswith("unet:35:")}
    with pytest.raises(InputError, match="has 35 layers of unet by number: expected the 36 of"):
        LoRA.of_file(fewer, SAID, BASE)
    with pytest.raises(InputError, match="metadata say of unet None: expected some of Attention"):
        LoRA.of_file(arrays, {}, BASE)
    extended = {**SAID, "unet": json.dumps(["ResnetBlock2D", "GEGLU"])}
    with pytest.raises(InputError, match="ResnetBlock2D"):
        LoRA.of_file(arrays, extended, BASE)
