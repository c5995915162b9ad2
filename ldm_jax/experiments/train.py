"""How long to train, over which devices, and what to write on the way."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ldm_jax.errors import InputError
from ldm_jax.runtime.sharding import Mesh, check_pmap, mesh_shape
from ldm_jax.settings import AtLeast1, NotNegativeInt, Range

FirstAndLast = Annotated[
    tuple[int, ...],
    Range(
        "none, or a first and a last step, each at least 1",
        lambda x: len(x) in (0, 2) and min(x, default=1) >= 1 and tuple(sorted(x)) == x,
    ),
]


@dataclass(frozen=True)
class Train:
    """How long, over which devices, and what to write on the way."""

    steps: AtLeast1 = 100_000  # updates
    save_every: AtLeast1 = 1_000  # steps between checkpoints
    keep: AtLeast1 = 2  # of the newest checkpoints
    # steps after which averages of optim.power_ema are kept; 0: never
    snapshot_every: NotNegativeInt = 0
    # a column of metrics.csv, such as loss or fid, by which the best checkpoint is kept as well
    best: str | None = None
    log_every: AtLeast1 = 50
    sample_every: NotNegativeInt = 1_000  # 0: never
    num_samples: AtLeast1 = 16  # images drawn on the way
    profile_steps: FirstAndLast = ()  # first and last of which RUN/profile has a trace
    devices: Literal["jit", "pmap"] = "jit"  # how the step is parallelized over devices
    mesh: Mesh = field(default_factory=Mesh)
    accumulate: AtLeast1 = 1  # parts of a batch that follow one another before an update


def check_devices(train: Train, name: str) -> None:
    """Raises InputError unless the devices can be used as the config's section `name` sets."""
    check_pmap(train.devices, mesh_shape(train.mesh, f"{name}.mesh"), name)


def check_batch(batch_size: int, name: str, train: Train = Train()) -> None:
    """Raises InputError unless a batch splits evenly over the devices, and each of its parts
    does."""
    sizes = mesh_shape(train.mesh, name.replace("data.batch_size", "train.mesh"))
    count, parts = sizes["data"] * sizes["fsdp"], train.accumulate
    if batch_size < 1 or batch_size % (count * parts):
        least = count * parts
        times = f" times {parts}, the parts of train.accumulate" if parts > 1 else ""
        what = "devices" if sizes["tensor"] == 1 else "devices that share no examples"
        raise InputError(
            f"{name} is {batch_size}: expected a positive multiple of {count}, "
            f"the number of {what}{times}, such as {max(1, round(batch_size / least)) * least}"
        )
