"""People's key points as OpenPose draws them."""

import numpy as np
import pytest

from ldm_jax.data.key_points import BODY, HUES, are_people, pose

SIDE = 200
POINTS = {0: (100, 30), 1: (100, 60), 2: (60, 60), 3: (40, 100), 8: (80, 120), 16: (85, 25)}


def person(points=POINTS):
    """Middles of pixels, in parts of the image; the rest is not seen."""
    return [
        [(x + 0.5) / SIDE for x in points[i]] if i in points else None for i in range(len(HUES))
    ]


def test_a_body_is_eighteen_points_and_the_limbs_of_a_tree():
    assert len(HUES) == 18 and len(BODY) == 17
    reached = {1}
    for a, b, _ in BODY:
        assert a in reached and b not in reached
        reached.add(b)
    assert reached == set(range(18))


def test_points_are_discs_over_dimmed_limbs():
    image = np.round(255 * pose([person()], (SIDE, SIDE)))
    for i, (x, y) in POINTS.items():
        np.testing.assert_array_equal(image[y, x], HUES[i])
        np.testing.assert_array_equal(image[y + 4, x], HUES[i])
    np.testing.assert_array_equal(image[60, 80], [153, 0, 0])  # from the neck to the right shoulder
    np.testing.assert_array_equal(image[45, 100], [0, 0, 153])  # to the nose
    assert not image[68, 80].any()  # beside it
    assert not image[27, 92].any()  # to the ear, by an eye that is not seen


def test_several_people_and_none():
    one, other = person(), person({1: (160, 160)})
    both = pose([one, other], (SIDE, SIDE))
    np.testing.assert_array_equal(both, pose([one], (SIDE, SIDE)) + pose([other], (SIDE, SIDE)))
    assert not pose([], (8, 12)).any()


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ([person()], True),
        ([person(), person({})], True),
        ([], True),
        (None, False),
        ([person()[:5]], False),
        ([[*person()[:17], [0.5]]], False),
        ([[*person()[:17], [0.5, "x"]]], False),
        ([[*person()[:17], [0.5, float("nan")]]], False),
        ("edges", False),
    ],
)
def test_what_key_points_are(value, good):
    assert are_people(value) == good
