"""Karlo's files, its authors' and diffusers', become runs and are written again bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ldm_jax import cli, convert, runs
from ldm_jax import config as c
from ldm_jax.convert.karlo import tables
from ldm_jax.convert.karlo_settings import of_original
from ldm_jax.encoders.clip.model import CLIP, TextArchitecture
from ldm_jax.encoders.clip.vision import VisionSettings
from ldm_jax.errors import InputError
from ldm_jax.weights import table
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.formats.torch_writer import write_tree
from ldm_jax.weights.names import clip as clip_names
from ldm_jax.weights.names.karlo import PREFIXES
from tests.parity.cases import drawn
from tests.support import dalle2

CONFIGS = Path(__file__).parents[2] / "configs" / "dalle2"
DIM = 64  # of CLIP's space and of captions, which diffusers has of one width
UNET = {"channels": 64, "channel_mults": (1, 2), "num_res_blocks": 1}
PRIOR = c.PriorTransformer(64, layers=1, num_heads=1, length=dalle2.LENGTH, vector_dim=DIM)
DECODER = c.UnCLIPDecoder(
    **UNET, attention_factors=(2,), vector_dim=2 * DIM, extra_tokens=2, context_dim=8
)
UPSAMPLER = c.LastStepUNet(
    64, (1, 1, 1), 1, attention_factors=(), mid_attention=False, resample_blocks=True
)
TEXT = TextArchitecture(64, 1, 1, dalle2.LENGTH, dalle2.WORDS)
SIZES = {"dim": 64, "layers": 1, "num_heads": 1, "head_dim": 64, "length": dalle2.LENGTH}
VISION = {**dalle2.VISION, "channels": 64, "num_heads": 1, "dim": DIM}
OF = CLIP(VisionSettings(**VISION).architecture, TEXT)


def experiments():
    """A narrow model of each part."""
    given = {
        name: cli.load_config(CONFIGS / f"{name}.py") for name in ("prior", "decoder", "upsample")
    }
    caption = c.CLIPCaption(**SIZES, vocab_size=dalle2.WORDS, embedding_dim=DIM)
    return {
        "prior": replace(given["prior"], model=PRIOR, conditions=(caption,)),
        "decoder": replace(
            given["decoder"], model=DECODER, conditions=(caption, c.EmbeddedImage(**VISION))
        ),
        "upsampler": replace(given["upsample"], model=UPSAMPLER),
    }


def states():
    """Component -> its weights, drawn, as the authors' files have them."""
    return {
        part: {PREFIXES[part] + key: x for key, x in drawn.state(table.shapes(rows)).items()}
        for part, one in experiments().items()
        for rows in tables(part, one, "original").values()
    }


@pytest.fixture(scope="module", name="originals")
def _originals(tmp_path_factory):
    """A folder with the authors' files."""
    folder = tmp_path_factory.mktemp("karlo") / "files"
    folder.mkdir()
    for component, state in states().items():
        write_weights(folder / f"{component}-step=1.ckpt", state)
    clip = drawn.state(table.shapes(clip_names.both_encoders(OF, "openclip")))
    sizes = {"input_resolution": 8, "context_length": dalle2.LENGTH, "vocab_size": dalle2.WORDS}
    write_weights(folder / "ViT-L-14.pt", clip | {k: np.array(x) for k, x in sizes.items()})
    mean, std = drawn.normal("mean", (DIM,)), 1 + np.abs(drawn.normal("s", (DIM,)))
    with (folder / "ViT-L-14_stats.th").open("wb") as file:
        write_tree(file, (mean, std))
    return folder


@pytest.fixture(scope="module", name="runs_of")
def _runs_of(originals, tmp_path_factory):
    """The runs of these."""
    folder = tmp_path_factory.mktemp("runs") / "karlo"
    words = Path(dalle2.write_clip(folder.parent / "clip")) / "tokenizer.json"
    convert.convert(originals, folder, tokenizer=words)
    return folder


def assert_same_weights(a, b):
    a, b = read_weights(a), read_weights(b)
    assert sorted(a) == sorted(b)
    assert all(np.array_equal(a[key], b[key]) for key in a)


def test_the_published_files_are_of_the_sizes_in_configs():
    published = {
        part: cli.load_config(CONFIGS / f"{part}.py") for part in ("prior", "decoder", "upsample")
    }
    published["upsampler"] = published.pop("upsample")
    net = published["upsampler"].model
    both = c.LastStepUNet(**{name: getattr(net, name) for name in net.__dataclass_fields__})
    published["upsampler"] = replace(published["upsampler"], model=both)
    found = {
        part: table.shapes(next(iter(tables(part, one, "original").values())))
        for part, one in published.items()
    }
    assert len(found["prior"]) == 256
    counts = {part: sum(map(np.prod, x.values())) for part, x in found.items()}
    assert counts == {"prior": 1_022_028_544, "decoder": 893_318_086, "upsampler": 2 * 691_579_523}
    vit_l14 = CLIP(VisionSettings().architecture, TextArchitecture(768, 12, 12))
    clip = table.shapes(clip_names.both_encoders(vit_l14, "openclip")) | {"input_resolution": ()}
    described = of_original({**found, "clip": clip})
    assert described.prior == published["prior"].model
    assert described.decoder == published["decoder"].model
    assert described.upsampler == both
    assert c.CLIPCaption(**described.text) == c.CLIPCaption()
    assert c.EmbeddedImage(**described.vision) == c.EmbeddedImage()


def test_the_authors_files_become_runs_and_are_written_again(originals, runs_of, tmp_path):
    for part in ("prior", "decoder", "upsampler"):
        convert.convert(runs_of / part, tmp_path / f"{part}.ckpt")
        assert_same_weights(tmp_path / f"{part}.ckpt", originals / f"{part}-step=1.ckpt")
    theirs = (originals / "ViT-L-14_stats.th").read_bytes()
    assert (tmp_path / "prior.th").read_bytes() == theirs
    assert runs.load_config(runs_of / "decoder").conditions[1].encodes
    model = runs.load_config(runs_of / "prior").model
    assert model == PRIOR


def test_a_folder_of_diffusers_becomes_the_same_and_is_written_again(runs_of, tmp_path):
    there, again = tmp_path / "there", tmp_path / "again"
    convert.convert(runs_of, there)
    index = json.loads((there / "model_index.json").read_text())
    assert index["_class_name"] == "UnCLIPPipeline"
    convert.convert(there, tmp_path / "runs")
    for part in ("prior", "decoder", "upsampler"):
        here, same = (runs.load_config(x / part).model for x in (runs_of, tmp_path / "runs"))
        assert here == same
    convert.convert(tmp_path / "runs", again)
    for path in there.rglob("*.safetensors"):
        assert_same_weights(path, again / path.relative_to(there))
    for path in there.rglob("*.json"):
        assert path.read_bytes() == (again / path.relative_to(there)).read_bytes()


def test_a_file_alone_a_missing_one_and_a_wrong_weight_are_refused(originals, runs_of, tmp_path):
    one = originals / "decoder-step=1.ckpt"
    for config in (None, CONFIGS.parent / "sd" / "v1.py"):
        with pytest.raises(InputError, match="holds the decoder of Karlo: expected the folder of"):
            convert.convert(one, tmp_path / "run", config=config)
    few = tmp_path / "few"
    few.mkdir()
    for path in originals.iterdir():
        if path.suffix != ".th":
            (few / path.name).symlink_to(path)
    with pytest.raises(InputError, match="there is no statistics of CLIP's embeddings"):
        convert.convert(few, tmp_path / "run")
    (few / "prior-step=1.ckpt").unlink()
    state = states()["prior"]
    del state["model.out_proj.bias"]
    write_weights(few / "prior.ckpt", state)
    (few / "stats.th").symlink_to(originals / "ViT-L-14_stats.th")
    words = runs_of / "prior" / "tokenizer.json"
    with pytest.raises(InputError, match=r"not those of Karlo's prior: out_proj\.bias is"):
        convert.convert(few, tmp_path / "run", tokenizer=words)
    with pytest.raises(InputError, match=r"is no name of a file: expected NAME\.ckpt for"):
        convert.convert(runs_of / "prior", tmp_path / "folder")
    assert not (tmp_path / "run").exists()
