"""Sets whose images are in shards, tars or parquet files, which no other layout describes."""

import re

from ldm_jax.data import tars
from ldm_jax.data.image_set import ImageSet, shown
from ldm_jax.data.table import Table
from ldm_jax.errors import InputError

SPLITS = {"train", "training", "test", "val", "valid", "validation", "dev"}
COMPRESSED = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")


def read(files: ImageSet, split: str | None) -> Table | None:
    """What the shards of a folder hold; None where it has none.

    Args:
        split: whose shards are read, where their names say one; None: all.

    Raises:
        InputError: shards that cannot be read, or of other splits alone.
    """
    if found := _ending(files, ".tar"):
        chosen = of_split(files, found, split)
        table = tars.read_shards(files.root, chosen)
    elif found := _ending(files, ".parquet"):
        from ldm_jax.data import parquet  # pyarrow takes its time

        chosen = of_split(files, found, split)
        table = parquet.read_shards(files.root, chosen)
    elif found := _ending(files, *COMPRESSED):
        raise InputError(
            f"{shown(files.root / found[0])} is compressed, so that images in it cannot be read "
            "one by one: decompress it to a .tar"
        )
    else:
        return None
    if further := sorted({*found}.difference(chosen)):
        table = table._replace(left_out={**table.left_out, "of other splits": further})
    return table


def of_split(files: ImageSet, names: list[str], split: str | None) -> list[str]:
    """Of some files those whose names say the split, such as data/train-00000.parquet; all where no
    name says one.

    Raises:
        InputError: they say others.
    """
    splits: dict[str, list[str]] = {}
    for name in names:
        said = [word for word in re.findall("[a-z]+", name.lower()) if word in SPLITS]
        splits.setdefault(said[0] if said else "", []).append(name)
    if split is None or splits.keys() == {""}:
        return names
    if split not in splits:
        raise InputError(
            f"{files.root} has no files of the split {split!r} but of "
            f"{', '.join(sorted(splits.keys() - {''}))}: choose one of them with --data.split"
        )
    return splits[split]


def _ending(files: ImageSet, *endings: str) -> list[str]:
    return [name for name in files.others if name.lower().endswith(endings)]
