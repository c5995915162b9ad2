"""Whether things are where they were asked for."""

import numpy as np
import pytest

from ldm_jax.data import drawing
from ldm_jax.metrics import placement
from tests.support.scenes import draw, segment

SIZE = 32
NAMES = tuple(drawing.SHAPES)


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(0)
    return [drawing.random_scene(rng) for _ in range(12)]


@pytest.fixture(scope="module")
def drawn(scenes):
    return [draw(scene, SIZE) for scene in scenes]


@pytest.fixture(scope="module")
def layouts(scenes):
    """Boxes x, y, width, height, class, and a row of -1."""
    rows = []
    for scene in scenes:
        top, left, bottom, right = drawing.boxes(scene).T
        kinds = [NAMES.index(thing.shape) for thing in scene.objects]
        boxes = np.stack([left, top, right - left, bottom - top, kinds], axis=1)
        rows.append(np.concatenate([boxes, -np.ones((1, 5))]).astype(np.float32))
    return rows


def test_drawings_follow_their_own_layouts_and_no_others(drawn, layouts):
    own = placement.layout_scores(drawn, layouts, NAMES)
    assert own == {"found": 1.0, "class": 1.0, "count": 1.0}
    other = placement.layout_scores(drawn, layouts[1:] + layouts[:1], NAMES)
    assert other["found"] < 0.3
    assert other["class"] < 0.3


def test_another_shape_in_the_box_is_found_but_of_the_wrong_class(drawn, layouts):
    changed = [np.copy(rows) for rows in layouts]
    for rows in changed:
        rows[:-1, 4] = (rows[:-1, 4] + 1) % len(NAMES)
    scores = placement.layout_scores(drawn, changed, NAMES)
    assert scores["found"] == 1.0
    assert scores["class"] == 0.0


def test_an_empty_image_follows_no_layout(layouts):
    empty = [np.full((SIZE, SIZE, 3), drawing.BACKGROUND[0], np.uint8)] * len(layouts)
    assert placement.layout_scores(empty, layouts, NAMES) == dict.fromkeys(placement.SCORES, 0.0)


def test_drawings_agree_with_their_own_maps_and_no_others(scenes, drawn):
    maps = [segment(scene, SIZE) for scene in scenes]
    own = placement.map_scores(drawn, maps)
    assert own["class"] == 1.0
    assert own["iou"] > 0.85  # the border of an object is half background
    assert own["pixels"] > 0.98
    other = placement.map_scores(drawn, maps[1:] + maps[:1])
    assert other["iou"] < 0.3
    assert other["class"] < 0.3


def test_overlap_is_intersection_over_union():
    a = np.array([[0, 0, 0.5, 1], [0, 0, 1, 1]], np.float32)
    b = np.array([[0.25, 0, 0.5, 1], [0.5, 0, 0.5, 1]], np.float32)
    np.testing.assert_allclose(placement.overlaps(a, b), [[1 / 3, 0], [0.5, 0.5]], atol=1e-6)
