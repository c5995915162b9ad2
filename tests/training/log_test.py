"""The table of what a run logs, when a run goes on."""

import pytest

from ldm_jax.errors import InputError
from ldm_jax.training.log import open_log

ROWS = "step,loss\n1,0.5\n2,0.25\n3,0.1\n"


def test_rows_after_the_step_are_written_again(tmp_path):
    (tmp_path / "metrics.csv").write_text(ROWS)
    with open_log(tmp_path, "diffusion", 2, 4) as log:
        log.scalars(3, {"loss": 0.2, "fid": 7.0})
    assert (tmp_path / "metrics.csv").read_text() == "step,loss,fid\n1,0.5,\n2,0.25,\n3,0.2,7.0\n"


@pytest.mark.parametrize("row", ["2,0.25,7\n", "two,0.25\n"])
def test_rows_that_nobody_wrote_are_refused(tmp_path, row):
    (tmp_path / "metrics.csv").write_text(ROWS.replace("2,0.25\n", row))
    said = r"metrics.csv' cannot be read .* move it out"
    with pytest.raises(InputError, match=said), open_log(tmp_path, "diffusion", 2, 4):
        pass
    assert (tmp_path / "metrics.csv").read_text() == ROWS.replace("2,0.25\n", row)
