"""What is said of the classes and confusions that stand out, where nothing does."""

import numpy as np

from bench.runs.view_record import ClassCounts, Confusion, ViewRecord
from bench.statistics.classes import SIGNIFICANT, class_p_values, is_beyond_chance

CLASSES, IMAGES, VIEWS, REPEATS = 100, 50, 3, 200
CLASS_IMAGES = (IMAGES,) * CLASSES


def record(correct):
    return ViewRecord({}, classes=ClassCounts(tuple(correct), CLASS_IMAGES))


def test_a_class_that_lost_nothing_is_rarely_said_to_lose_and_one_that_lost_all_is():
    draws = np.random.default_rng(0)
    false_alarms = found = 0
    for _ in range(REPEATS):
        right = draws.random((CLASSES, IMAGES)) < 0.7
        before = record(right.sum(1))
        pairs = {}
        for view in range(VIEWS):
            now = right ^ (draws.random(right.shape) < np.where(right, 0.15, 0.35))  # as many broken as repaired
            now[0] = False
            pairs[f"view {view}"] = before, record(now.sum(1))
        values = np.array([*class_p_values(pairs, CLASS_IMAGES).values()])
        false_alarms += bool((values[:, 1:] < SIGNIFICANT).any())
        found += bool((values[:, 0] < SIGNIFICANT).any())
    assert false_alarms <= REPEATS * 0.05
    assert found == REPEATS


def test_a_confusion_is_beyond_chance_only_where_no_pair_of_as_many_would_grow_so():
    assert is_beyond_chance(Confusion(0, 1, 0, 15), classes=10, views=3)
    assert not is_beyond_chance(Confusion(0, 1, 0, 15), classes=1000, views=11)
    assert not is_beyond_chance(Confusion(0, 1, 0, 5), classes=10, views=3)
