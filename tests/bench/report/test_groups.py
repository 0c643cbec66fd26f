"""Which runs are compared with which, under what names."""

import os

import pytest

from bench.figures.style import MOST_COLOURS
from bench.report.groups import group_runs
from bench.report.sections import precision
from bench.runs.folder import load_run
from tests.support import made_up

COUNTS = {"original": 90, "jpeg-75": 80, "jpeg-50": 70}


@pytest.fixture
def grouped(tmp_path):
    """Groups of made-up runs, given as changes of a record; later ones are newer."""

    def group(*changes, counts=COUNTS):
        runs = []
        for number, change in enumerate(changes, len(list(tmp_path.iterdir()))):
            content = made_up.run_record(
                made_up.nested(change.pop("counts", counts), change.pop("images", 100)), **change
            )
            path = made_up.write_run(tmp_path / f"run{number}", content)
            os.utime(path, ns=(number, number))
            runs.append(load_run(path))
        return group_runs(runs)

    return group


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": "train"}, "cifar10/train, 100 images"),
        ({"data": "stl10"}, "stl10/test, 100 images"),
        ({"content": "sha256:other"}, "content sha256:other"),
        ({"content": None}, "content none"),
        ({"limit": 100}, "limit 100"),
        ({"every": 2}, "every 2"),
        ({"indices": [4, 5]}, "indices 4, 5"),
        ({"class_names": [f"kind {c}" for c in range(10)]}, "class_names 10 values"),
        ({"images": 200, "counts": {"original": 150}}, "200 images"),
    ],
)
def test_runs_over_other_images_are_never_in_one_table_and_the_title_says_what_differs(grouped, change, told):
    groups, replaced = grouped({}, {"encoder": "RN101", **change})
    assert [len(group.entries) for group in groups] == [1, 1]
    assert any(told in group.title for group in groups)
    assert len({group.name for group in groups}) == 2
    assert replaced == {}


def test_what_a_title_or_a_label_is_too_short_for_is_told_apart_all_the_same(grouped):
    names = [[f"{kind} {c}" for c in range(10)] for kind in ("a", "b", "c")]
    groups, _ = grouped(*({"class_names": names[kind]} for kind in range(3)))
    assert len({group.title for group in groups}) == 3
    prompts = [[f"a {kind} photograph, the {n}th of {{}}." for n in range(9)] for kind in ("good", "bad")]
    counts = ({"original": 90, "jpeg-75": 89}, {"original": 60, "jpeg-75": 50})
    (group,), _ = grouped(*({"model": {"templates": prompts[k]}, "counts": counts[k]} for k in range(2)))
    assert len({entry.label for entry in group.entries}) == 2
    assert len(precision._remarks(group)[0].split("; ")) == 2


def test_every_encoder_of_a_small_group_has_a_colour_beside_a_large_one(grouped):
    large = [{"encoder": f"encoder {number:02}"} for number in range(12)]
    small = [{"encoder": f"other {number}", "data": "stl10"} for number in range(3)]
    groups, _ = grouped(*large, *small, {"encoder": "encoder 01", "data": "stl10"})
    first, second = groups
    assert sorted(first.places.values())[:MOST_COLOURS] == list(range(MOST_COLOURS))
    assert second.places["encoder 01"] == first.places["encoder 01"]
    assert len({place for place in second.places.values() if place < MOST_COLOURS}) == 4


def test_other_views_and_encoders_of_the_same_images_share_a_table(grouped):
    groups, _ = grouped({"encoder": "ViT-B/32"}, {"encoder": "RN50", "counts": {"original": 90, "webp-50": 60}})
    assert [entry.label for entry in groups[0].entries] == ["RN50", "ViT-B-32"]  # the paper's order
    assert groups[0].views == ("original", "webp-50", "jpeg-75", "jpeg-50")  # the newest run's codec first


def test_the_newest_of_two_measurements_is_kept_and_the_other_named(grouped):
    groups, replaced = grouped({}, {"counts": {"original": 91, "jpeg-75": 81}})
    cells = groups[0].cells
    assert dict(zip(cells["view"], cells["correct"], strict=True)) == {"original": 91, "jpeg-75": 81, "jpeg-50": 70}
    assert [(path.parent.name, text.split(":")[0]) for path, text in replaced.items()] == [
        ("run0", "RN50, original, jpeg-75")
    ]


def test_spelling_of_encoder_and_path_of_weights_make_no_difference_but_their_hash_does(grouped):
    same = {"weights_sha256": "1234567890"}
    groups, replaced = grouped(
        {"encoder": "ViT-B/32", "model": same},
        {"encoder": "ViT-B-32-quickgelu", "model": same},
        {"encoder": "ViT-B-32", "model": {**same, "weights_sha256": "0987654321"}},
    )
    assert [entry.label for entry in groups[0].entries] == [
        "ViT-B-32, weights_sha256 09876543",
        "ViT-B-32, weights_sha256 12345678",
    ]
    assert len(replaced) == 1


def test_labels_tell_models_apart_by_what_differs(grouped):
    groups, _ = grouped(
        {},
        {"model": {"templates": ["{}"]}},
        {"model": {"pretrained": "weights/mine.safetensors", "weights_sha256": "ff"}},
        {"encoder": "enc10"},
        {"encoder": "enc9"},
    )
    assert [entry.label for entry in groups[0].entries] == [
        "RN50 (mine)",
        'RN50, templates "This is an image of a {}."',
        'RN50, templates "{}"',
        "enc9",
        "enc10",
    ]


def test_names_of_files_are_bounded_and_differ(grouped):
    groups, _ = grouped({"data": "x" * 250}, {"data": "x" * 250, "split": "train"})
    assert all(len(group.name) <= 82 for group in groups)
    assert len({group.name for group in groups}) == 2
