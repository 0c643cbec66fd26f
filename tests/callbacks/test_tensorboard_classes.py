"""Which changes of classes are told, in which order."""

import numpy as np

from bench.figures.ranking import Change
from bench.runs.view_record import ClassCounts, Confusion, ViewRecord
from callbacks.tensorboard_classes import confusion_changes, recall_changes

NAMES = ["cat", "dog", "bird", "cow"]


def test_recall_names_the_classes_that_fell_the_largest_fall_first():
    recall = {"original": np.array([0.9, 0.8, 0.5, np.nan]), "jpeg-5": np.array([0.7, 0.2, 0.6, np.nan])}
    said, changes = recall_changes("jpeg-5", recall, NAMES, np.array([False, True, False, False]))
    assert said == "jpeg-5: recall of dog falls most, from 0.80 to 0.20"
    unsure, _ = recall_changes("jpeg-5", recall, NAMES, np.array([True, False, False, False]))
    assert unsure == f"{said}, which may be chance"
    assert changes == [Change("dog", 0.8, 0.2), Change("cat", 0.9, 0.7)]  # bird rose, cow is not known
    assert recall_changes("original", recall, NAMES, np.zeros(4, bool)) == ("", [])


def test_confusions_are_shares_of_their_true_class():
    confusions = (Confusion(0, 1, 1, 19), Confusion(2, 3, 0, 2))
    found = ViewRecord({}, classes=ClassCounts((1, 2, 3, 4), (1, 2, 3, 4), confusions))
    said, changes = confusion_changes("jpeg-5", found, np.array([20, 10, 4, 5]), NAMES, 3)
    assert said == "jpeg-5: 19 of 20 cat are taken for dog (original: 1)"
    assert changes == [Change("cat → dog", 0.05, 0.95), Change("bird → cow", 0.0, 0.5)]
    unsure, _ = confusion_changes("jpeg-5", found, np.array([20, 10, 4, 5]), NAMES, 1000)
    assert unsure == f"{said}, which may be chance"
    assert confusion_changes("jpeg-5", ViewRecord({}), np.array([1]), NAMES, 3) == ("", [])
