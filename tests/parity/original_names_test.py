"""The map of names: nothing left over on either side, and a way back."""

import cases
import jax
import numpy as np
import original_names as names
import pytest
import small

from ldm_jax.errors import InputError

NETWORKS = list(cases.CASES)


def state_and_table(name):
    """A state dict of a small network, and its map."""
    return cases.weights(cases.CASES[name]), cases.CASES[name].table


@pytest.mark.parametrize("name", NETWORKS)
def test_a_converted_state_dict_has_the_tree_of_a_new_network(name):
    state, table = state_and_table(name)
    converted = names.flattened(names.to_here(table, state))
    new = names.flattened(jax.eval_shape(small.NETWORKS[name].init, cases.CASES[name].inputs))
    assert {path: w.shape for path, w in converted.items()} == {p: w.shape for p, w in new.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_way_back_gives_the_state_dict_that_was(name):
    state, table = state_and_table(name)
    returned = names.to_original(table, names.to_here(table, state))
    assert returned.keys() == state.keys()
    for key in state:
        np.testing.assert_array_equal(returned[key], state[key])


def test_no_two_parameters_take_the_same_key():
    for case in cases.CASES.values():
        keys = [key for row in case.table for key in row.keys]
        assert len(keys) == len(set(keys))


def test_every_key_that_does_not_fit_is_named():
    state, table = state_and_table("text")
    del state["transformer.norm.bias"]
    state["transformer.norm.weight"] = np.zeros((3, 1))
    state["transformer.extra"] = np.zeros(2)
    with pytest.raises(InputError) as error:
        names.to_here(table, state)
    assert str(error.value).splitlines()[1:] == [
        "transformer.norm.bias is missing: expected shape (24,)",
        "transformer.extra (2,) is unexpected: no parameter takes it",
        "transformer.norm.weight has shape (3, 1): expected (24,)",
    ]


def test_keys_known_to_be_of_no_use_are_left_out():
    state, table = state_and_table("text")
    state |= {key: np.zeros((11, 24)) for key in names.TEXT_UNUSED}
    assert names.to_here(table, state, unused=names.TEXT_UNUSED)


def test_names_under_a_prefix():
    row = names.under(names.norm("norm", "norm_out", 8), "encoder/", "first_stage_model.")[0]
    assert row.path == "encoder/norm/scale"
    assert row.keys == ("first_stage_model.norm_out.weight",)
