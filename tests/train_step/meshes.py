"""Trains small models on eight simulated devices in every arrangement, and on one of them.

python meshes.py train OUT            OUT/OBJECTIVE/KIND.npz and held.json; a run OUT/OBJECTIVE/run
python meshes.py restore RUN COUNT    the run's state on COUNT devices -> RUN/restored_COUNT.npz
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

COUNT = 8 if sys.argv[1] == "train" else int(sys.argv[3])
os.environ["JAX_NUM_CPU_DEVICES"] = str(COUNT)
os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).parents[2]))

import grain  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402

from ldm_jax import checkpoint  # noqa: E402
from ldm_jax.config import DiffusionLoss, Mesh, Optim  # noqa: E402
from ldm_jax.runtime.sharding import devices  # noqa: E402
from ldm_jax.train_step import autoencoder as autoencoder_step  # noqa: E402
from ldm_jax.train_step import diffusion as diffusion_step  # noqa: E402
from ldm_jax.train_step.optimizer import optimizer  # noqa: E402
from ldm_jax.train_step.state import make_train_step, new_state  # noqa: E402
from tests.support import tiny, traced_once  # noqa: E402

traced_once.use()
jax.config.update("jax_disable_most_optimizations", True)

STEPS, BATCH = 4, 16
KINDS = {  # how, along which axes, in how many parts
    "data": ("jit", Mesh(), 1),
    "fsdp, in parts": ("jit", Mesh(fsdp=8), 2),
    "all axes": ("jit", Mesh(data=2, fsdp=2, tensor=2), 1),
    "pmap, in parts": ("pmap", Mesh(), 2),
}


def diffusion():
    """Params, batches, and an objective in `parts` parts; everything that is learned is on."""
    experiment = tiny.experiment()
    first = replace(experiment.first_stage.model, channel_mults=(1,))
    experiment = replace(
        experiment,
        first_stage=replace(experiment.first_stage, model=first),
        model=replace(experiment.model, channels=32),
        conditions=(replace(experiment.conditions[0], dim=32, head_dim=16),),
    )
    model, params, _ = tiny.model(experiment)
    loss = DiffusionLoss(times="loss_aware", learned_weight=True)
    params |= diffusion_step.init_helpers(model.process, loss)

    def batch(rng):
        return {
            "image": rng.uniform(-1.0, 1.0, (BATCH, 8, 8, 3)).astype(np.float32),
            "tokens": rng.integers(0, 12, (BATCH, 8)).astype(np.int32),
        }

    return params, batch, lambda n: diffusion_step.diffusion_objective(model, loss, 0.1, BATCH, n)


def autoencoder():
    """The same of a VQ first stage, its discriminator and its moving codes."""
    experiment = tiny.vq_experiment("")
    loss = experiment.loss
    loss = replace(loss, adversary=replace(loss.adversary, channels=16))
    stage = replace(experiment.model, channels=16).build()
    params = tiny.drawn(stage.init)
    params |= autoencoder_step.init_helpers(stage, loss, jax.random.key(1), params)

    def batch(rng):
        return {"image": rng.uniform(-1.0, 1.0, (BATCH, 16, 16, 3)).astype(np.float32)}

    return params, batch, lambda n: loss.build(stage, n)


def counted(function):
    """The function with how often it was called."""

    def call(*arguments):
        call.calls += 1
        return function(*arguments)

    call.calls = 0
    return call


OBJECTIVES = {"diffusion": diffusion, "autoencoder": autoencoder}
OPTIM = Optim(lr=1e-3, warmup=2, ema_decay=0.9)


def arrays(state, metrics) -> dict[str, np.ndarray]:
    """What is compared."""
    tree = {"params": state.params, "ema": state.ema, "metrics": metrics}
    return tiny.arrays(jax.tree.map(np.asarray, tree))


def train(out: Path) -> None:
    """Every objective in every arrangement."""
    assert jax.device_count() == 8
    for name, make in OBJECTIVES.items():
        params, draw, objective_in = make()
        (out / name).mkdir(parents=True)
        rng = np.random.default_rng(0)
        position = {"position": np.arange(BATCH, dtype=np.int32)}
        batches = [draw(rng) | position for _ in range(STEPS)]
        held = {}
        for kind, (how, mesh, parts) in {"one": (None, None, 1), **KINDS}.items():
            objective = objective_in(parts)
            optim = optimizer(OPTIM, STEPS, objective.trained)
            step = counted(make_train_step(objective, optim, OPTIM.ema_decay))
            state, rows = new_state(params, optim, objective), []
            if how:
                spread = devices(how, mesh)
                assert spread.count == 8
                state = jax.tree.map(np.asarray, state)  # nothing else holds what is eaten
                state = spread.place(state)
                compiled = spread.parallelize(step, state)
            else:
                compiled = jax.jit(lambda *x, step=step: step(*x, lambda tree: tree))
            for batch in batches:
                before = state
                given = spread.split(batch) if how else batch
                state, metrics = compiled(state, {}, given, jax.random.key(7))
                rows.append(metrics)
                assert not how or all(x.is_deleted() for x in jax.tree.leaves(before))
            assert step.calls == 1  # traced once, so compiled once
            metrics = {key: np.array([row[key] for row in rows]) for key in rows[0]}
            np.savez(out / name / f"{kind}.npz", **arrays(state, metrics))
            held[kind] = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state))
            if kind == "fsdp, in parts":
                with checkpoint.manager(out / name / "run") as saves:
                    checkpoint.save(saves, state, stream())
        (out / name / "held.json").write_text(json.dumps(held))


def stream():
    return iter(grain.MapDataset.range(100).batch(5).to_iter_dataset())


def restore(run: Path, count: int) -> None:
    """Reads the run's state onto as many devices, in parts, and writes it as it is."""
    assert jax.device_count() == count
    params, _, objective_in = OBJECTIVES[run.parent.name]()
    objective = objective_in(1)
    optim = optimizer(OPTIM, STEPS, objective.trained)
    shapes = jax.eval_shape(lambda: new_state(params, optim, objective))
    spread = devices("jit", Mesh(fsdp=count))
    state = checkpoint.restore(run, spread.target(shapes), stream())
    largest = max(jax.tree.leaves(state.params), key=lambda x: x.size)
    assert largest.addressable_shards[0].data.size * count == largest.size
    np.savez(run / f"restored_{count}.npz", **arrays(state, {}))


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(Path(sys.argv[2]))
    else:
        restore(Path(sys.argv[2]), COUNT)
