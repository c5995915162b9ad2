"""A condition, a backbone, a sampler and an adapter, each written here and nowhere else.

They train, sample and are evaluated by the commands, and no other file knows of them.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sample
import train
from ldm_jax import runs
from ldm_jax.adapters.settings import AdapterSection, AdapterSettings
from ldm_jax.backbones.settings import BackboneSettings
from ldm_jax.conditioning.condition import BuildContext, Condition
from ldm_jax.config import AdapterExperiment, FirstStageExperiment, Optim, Pixels, Train
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.names import SAMPLERS, Kind
from ldm_jax.errors import InputError
from ldm_jax.runs.writing import as_python
from ldm_jax.sections import Section
from ldm_jax.settings import AtLeast1, Fraction
from ldm_jax.types import Adapter, Backbone, Cond, Conditioner, Derive, Sampler, Site
from scripts import evaluate
from tests.support import tiny


@dataclass(frozen=True)
class BrightnessSection(Section):
    """How bright the images are."""

    key: ClassVar[str] = "light"

    brightness: float = 0.0
    """mean of an image, -1 to 1"""

    def inputs(self, request, run):
        return {"brightness": np.full((request.images.num, 1), self.brightness, np.float32)}


@dataclass(frozen=True)
class Brightness(Condition):
    """The mean of an image, as a vector."""

    dim: AtLeast1 = 8  # width of the vector
    drop: Fraction = 0.1  # how often training drops it

    kind: ClassVar = "a brightness"
    reads: ClassVar = ("brightness",)
    has_weights: ClassVar = True
    sections: ClassVar = (BrightnessSection,)

    @property
    def vector_width(self) -> int:
        return self.dim

    def derive(self, factor: int) -> dict[str, Derive]:
        return {"brightness": lambda example, rng: np.float32([np.mean(example["image"])])}

    def build(self, context: BuildContext) -> Conditioner:
        return Conditioner(
            init=lambda key: {"kernel": jax.random.normal(key, (1, self.dim))},
            apply=lambda params, inputs: Cond(vector=inputs["brightness"] @ params["kernel"]),
            null=lambda n, h=1, w=1: {"brightness": jnp.zeros((n, 1))},
            keys=("brightness",),
        )


@dataclass(frozen=True)
class Pointwise(BackboneSettings):
    """Each pixel by itself: x0 from z, the timestep and a vector."""

    width: AtLeast1 = 8  # of the vector

    @property
    def vector_width(self) -> int:
        return self.width

    def build(self, in_channels: int, out_channels: int) -> Backbone:
        def init(key, cond):
            shapes = {"z": in_channels, "vector": self.width, "time": 1}
            keys = jax.random.split(key, len(shapes))
            return {
                name: 0.1 * jax.random.normal(one, (n, out_channels))
                for one, (name, n) in zip(keys, shapes.items(), strict=True)
            }

        def apply(params, z, timestep, cond):
            shift = timestep[:, None] * params["time"]
            if cond.vector is not None:
                shift += cond.vector @ params["vector"]
            added = (cond.added or {}).get("out", 0.0)
            return z @ params["z"] + shift[:, None, None] + added

        return Backbone(init, apply, sites={"out": Site(1, out_channels)})


def replaced() -> Sampler:
    """z_s is predicted x0 with new noise."""

    def step(denoise, process, keys, z, t, s, state):
        alpha, sigma = alpha_sigma_like(process, s, z)
        noise = jax.vmap(lambda key: jax.random.normal(key, z.shape[1:]))(keys)
        return alpha * denoise(z, t).x0 + sigma * noise, state

    return Sampler(step)


@dataclass(frozen=True)
class TintSection(AdapterSection):
    """How much of the tint there is."""

    key: ClassVar[str] = "tints"

    tint: float = 0.0
    """times the colour that a Tint has learned"""


@dataclass(frozen=True)
class Tint(AdapterSettings):
    """A colour that is added to the output, times an input."""

    channels: AtLeast1 = 3  # of the colour

    kind: ClassVar = "a tint"
    sections: ClassVar = (TintSection,)

    def derive(self, factor: int) -> dict[str, Derive]:
        return {"tint": lambda example, rng: np.ones(1, np.float32)}

    def given(self, options, size, data):
        return {"tint": np.float32([[options["tint"]]])}

    def by_site(self, base, options):
        return {"out": 0.5}

    def build(self, base) -> Adapter:
        def signal(own, hint, z, t, cond):
            color = (hint * own["color"])[:, None, None]
            return Cond(added={"out": jnp.ones((len(hint), *z.shape[1:])) * color})

        return Adapter(
            init=lambda key, params: {"color": jnp.zeros(self.channels)},
            keys=("tint",),
            null=lambda n, h, w: {"tint": jnp.zeros((n, 1))},
            dropped=("tint",),
            encode=lambda own, inputs: inputs["tint"],
            signal=signal,
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run of the condition, the backbone and the sampler, in the working folder."""
    folder = tmp_path_factory.mktemp("extension")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(SAMPLERS, "replaced", Kind(replaced, "nobody", {}))
        yield trained_in(folder)


def trained_in(folder):
    tiny.write_folder(folder / "images")
    base = tiny.experiment("images")
    experiment = replace(
        base,
        first_stage=FirstStageExperiment(model=Pixels()),
        model=Pointwise(),
        conditions=(Brightness(),),
        sampling=replace(base.sampling, sampler="replaced"),
    )
    text = as_python(tiny.with_images(experiment))
    (folder / "config.py").write_text(f"from tests.house.extension_test import *\n{text}")
    train.main(["config.py", "--workdir", "run", "--conditions.0.drop", "0.2"])
    return folder / "run"


def test_they_train_and_the_run_reads_as_data(run):
    found = runs.describe(run)
    assert found.experiment.conditions == (Brightness(drop=0.2),)
    assert found.experiment.model == Pointwise()
    assert len(tiny.rows(run)) == 4
    assert list((run / "samples").glob("*.png"))


def test_they_sample(run):
    sample.main(["run", "--num", "2", "--brightness", "0.5", "--out", "drawn", "--steps", "3"])
    report = json.loads((run.parent / "drawn" / "report.json").read_text())
    assert "replaced" in json.dumps(report)


def test_they_are_evaluated(run):
    words = ["--num", "8", "--batch-size", "8", "--flow-steps", "2", "--conditional", "False"]
    evaluate.main(["bits", "run", "images", *words])
    assert np.isfinite(json.loads((run / "bits" / "report.json").read_text())["bound"]["mean"])


def test_an_adapter_trains_and_its_option_is_asked(run, capsys):
    adapted = AdapterExperiment(base="run", adapter=Tint(), optim=Optim(lr=0.1))
    adapted = replace(adapted, train=Train(steps=3, save_every=3, log_every=1, sample_every=0))
    text = as_python(adapted)
    Path("tint.py").write_text(f"from tests.house.extension_test import *\n{text}")
    train.main(["tint.py", "--workdir", "tinted"])
    words = ["run", "--num", "2", "--steps", "3", "--adapter", "tinted:2"]
    drawn = {}
    for tint in ("0", "1", "-1"):
        sample.main([*words, "--tint", tint, "--out", f"tint{tint}"])
        drawn[tint] = np.load(f"tint{tint}/samples.npz")["arr_0"].astype(int)
    assert "--tint -1" in capsys.readouterr().out
    report = json.loads(Path("tint1/report.json").read_text())
    assert report["request"]["tints"] == {"tint": 1.0}
    change = np.mean(drawn["1"] - drawn["0"])
    assert abs(change) > 1 and change * np.mean(drawn["-1"] - drawn["0"]) < 0
    with pytest.raises(InputError, match="--tint 1 without --adapter: expected both"):
        sample.main(["run", "--num", "2", "--tint", "1"])


def test_a_run_with_a_class_that_nobody_defined_is_refused(run):
    config = run / "config.py"
    config.write_text(config.read_text().replace("Brightness(", "Darkness("))
    with pytest.raises(InputError, match="a call of 'Darkness'"):
        runs.describe(run)
