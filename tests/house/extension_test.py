"""A condition, a backbone, a sampler and an adapter, each written here and nowhere else.

They train, sample and are evaluated by the commands, and no other file knows of them.
"""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sample
import train
from ldm_jax import runs
from ldm_jax.adapters.adapter import adapted
from ldm_jax.backbones.settings import BackboneSettings
from ldm_jax.conditioning.condition import BuildContext, Condition
from ldm_jax.config import FirstStageExperiment, Pixels
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.diffusion.samplers.names import SAMPLERS, Kind, build_sampler
from ldm_jax.errors import InputError
from ldm_jax.runs.writing import as_python
from ldm_jax.sampling.generate import make_generate
from ldm_jax.sections import Section
from ldm_jax.settings import AtLeast1, Fraction
from ldm_jax.train_step.diffusion import diffusion_loss
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


def tint() -> Adapter:
    """A colour that is added to the output, times an input."""
    return Adapter(
        init=lambda key, params: {"color": jnp.zeros(3)},
        keys=("tint",),
        null=lambda n, h, w: {"tint": jnp.zeros((n, 1))},
        dropped=("tint",),
        encode=lambda own, inputs: inputs["tint"],
        signal=lambda own, hint, z, t, cond: Cond(
            added={
                "out": jnp.ones((len(hint), *z.shape[1:])) * (hint * own["color"])[:, None, None]
            }
        ),
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


def test_an_adapter_trains_and_changes_images(run):
    trained = runs.load(run)
    model = adapted(trained.model, {"tint": tint()})
    inputs = {"brightness": jnp.ones((2, 1)), "tint": jnp.ones((2, 1))}
    batch = {"image": jnp.ones((2, tiny.SIZE, tiny.SIZE, 3)), **inputs}
    loss = diffusion_loss(model, trained.experiment.loss, 0.0)

    @jax.jit
    @jax.value_and_grad
    def loss_of(own):
        return loss({**trained.params, "adapters": {"tint": own}}, batch, tiny.keys(2))[0]

    own, losses = tint().init(jax.random.key(0), trained.params), []
    for _ in range(3):
        value, gradient = loss_of(own)
        own = jax.tree.map(lambda x, g: x - 0.1 * g, own, gradient)
        losses.append(float(value))
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]

    settings, params = trained.experiment.sampling, {**trained.params, "adapters": {"tint": own}}
    generate = make_generate(model, build_sampler(settings.sampler), tiny.SIZE)
    times, seeds = sampling.padded_times(settings, model.process), np.arange(2, dtype=np.uint32)

    def drawn(scale):
        return generate({**params, "scales": {"tint": scale}}, inputs, seeds, times, 2.0, {})

    assert np.max(np.abs(drawn(1.0) - drawn(0.0))) > 1e-3


def test_a_run_with_a_class_that_nobody_defined_is_refused(run):
    config = run / "config.py"
    config.write_text(config.read_text().replace("Brightness(", "Darkness("))
    with pytest.raises(InputError, match="a call of 'Darkness'"):
        runs.describe(run)
