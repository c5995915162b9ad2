"""What all processes must share is compared; here the second one is made up."""

import pytest

from ldm_jax.data.settings import Data
from ldm_jax.errors import InputError
from ldm_jax.runs.record import settings_of
from ldm_jax.runtime import hosts


@pytest.fixture
def beside(monkeypatch):
    """beside(error, facts): a second process, which has these and what this one has otherwise."""

    def beside(error=None, **facts):
        def from_all(own, failed):
            mine = (str(failed) if failed else None, own)
            theirs = {**own, **{name: hosts._in_short(x) for name, x in facts.items()}}
            return [mine, (error, theirs)]

        monkeypatch.setattr(hosts, "_from_all", from_all)

    return beside


def agree(**facts):
    with hosts.agreement() as noted:
        noted |= facts


def test_the_same_facts_agree_and_one_process_agrees_with_itself(beside):
    agree(steps=4)
    beside()
    agree(steps=4, names=["a"] * 1000)


@pytest.mark.parametrize(
    ("name", "own", "other"),
    [
        ("batch_size", 4, 8),
        ("class_names", ("cat", "dog"), ("dog", "cat")),
        ("flip", False, True),
        ("path", None, "here"),
    ],
)
def test_the_fact_and_the_process_that_differ_are_named(beside, name, own, other):
    beside(**{name: other})
    with pytest.raises(InputError) as refused:
        agree(other=1, **{name: own})
    assert f"process 1 of 2 has {name} {other!r}, and process 0 has {own!r}: " in str(refused.value)


def test_long_facts_are_recognised_by_their_digests(beside):
    beside(names=["a"] * 999 + ["b"])
    with pytest.raises(InputError) as refused:
        agree(names=["a"] * 1000)
    assert len(str(refused.value)) < 400 and str(refused.value).count("digest") == 2


def test_what_stops_one_process_stops_all(beside):
    beside(error="no such folder")
    with pytest.raises(InputError, match="process 1 of 2 stops: no such folder"):
        agree(steps=4)
    with pytest.raises(InputError, match="own"), hosts.agreement():
        raise InputError("own")


def test_every_field_of_a_config_is_compared():
    assert settings_of(Data(path="a"))["path"] == "a" and settings_of(Data())["shapes"] == "Shapes"
