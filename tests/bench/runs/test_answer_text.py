"""What stands first on TensorBoard's Text page."""

from bench.metrics import NOISE
from bench.runs.answer_text import answer_markdown, cost
from bench.runs.view_record import ViewRecord
from bench.statistics.paired import drop_interval

VIEWS = {
    "original": ViewRecord({"precision": 0.9}),
    "jpeg-25": ViewRecord({"precision": 0.7, "drop": 0.2}, flipped=30, broken=24, repaired=4),
}


def test_cost_is_the_drop_in_points_with_tangos_interval():
    interval = drop_interval(24, 4, 100)
    assert cost("jpeg-25", VIEWS["jpeg-25"], 100) == (
        f"jpeg-25 costs 20.0 points [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    )


def test_first_table_says_what_each_view_costs_and_how_sure_that_is():
    text = answer_markdown(VIEWS, 100, "RN50 on cifar10/test", "Look elsewhere.", labelled=True)
    head, table, *_ = text.split("\n\n")
    assert head == "**RN50 on cifar10/test, 100 images**"
    _, _, original, degraded = table.splitlines()
    assert original == "| original | 0.9000 |  |  |  |"
    told = cost("jpeg-25", VIEWS["jpeg-25"], 100).removeprefix("jpeg-25 costs ")
    assert degraded == f"| jpeg-25 | 0.7000 | {told} | 24 | 4 |"
    assert text.index("Look elsewhere.") < text.index("All metrics:")
    assert text.endswith("| drop (points) |  | 20.00 |")


def test_without_labels_there_is_no_cost():
    views = {"original": ViewRecord({}), "jpeg-25": ViewRecord({"flip_rate": 0.25}, flipped=25)}
    text = answer_markdown(views, 100, "RN50 on photos/all", labelled=False)
    assert "points" not in text
    assert text.endswith("| flips |  | 0.2500 |")


def test_what_is_noisy_stands_last_and_is_said_to_be():
    views = {**VIEWS, "jpeg-25": ViewRecord({"precision": 0.7, "encode_ms": 0.0625, "decode_ms": 1234.5})}
    *_, table, note = answer_markdown(views, 100, "RN50 on photos/all", labelled=True).split("\n\n")
    assert table.splitlines()[-2:] == ["| encode (ms) |  | 0.062 |", "| decode (ms) |  | 1234.500 |"]
    assert note == NOISE
