"""The robustness section of made-up runs, against counting by hand."""

import json

import numpy as np
import pytest

from bench.attribution.explanations import Explanation, ViewExplanation, summary
from tests.support import made_up

IMAGES = 200
VIEWS = {"original": 160, "jpeg-25": 100, "webp-25": 120}


def fit(folder, name="augment", *, seed=0, clean=0.2, codecs=None, alpha=1.0, label_free=False, **changes):
    """A record of a fit; gives the hash of its encoder."""
    digest = f"{name}-{seed}-{alpha}"
    record = {
        "schema": 1,
        "name": name,
        "method": {"objective": {"name": "Augment", "label_free": label_free}, "trainable": {"name": "WholeTower"}},
        "original": {"weights_sha256": "hash of RN50"},
        "templates": [made_up.TEMPLATE],
        "training": {
            "views": {"codecs": codecs or {"jpeg-{}": [10, 95]}, "law": "Uniform", "clean": clean, "flip": 0.5},
            "epochs": 3,
        },
        "data": {"name": "cifar10", "split": "train"},
        "images_per_class": {f"class {c}": 90 for c in range(10)},
        "seeds": {"data": seed},
        "interpolation": [
            {"alpha": a, "metrics": {"original": {"precision": 0.9 - a / 10}, "jpeg-25": {"precision": 0.5 + a / 10}}}
            for a in (0, 0.5, 1)
        ],
        "exports": [{"alpha": alpha, "sha256": digest}],
        **changes,
    }
    place = folder / f"fit-{digest}"
    place.mkdir(parents=True)
    (place / "finetuning.json").write_text(json.dumps(record))
    (place / "config.yaml").write_text("")
    return digest


def measured(folder, digest, counts, **options):
    """A test run of an encoder; its first images are right."""
    predictions = made_up.nested(counts, IMAGES)
    model = {"weights_sha256": digest, "pretrained": f"{digest}.safetensors"}
    content = made_up.record(predictions, model=model, **options)
    made_up.write(folder / f"test-{digest}-{options.get('data', '')}", content, predictions)


def original(folder, counts=VIEWS, **options):
    measured(folder, "hash of RN50", counts, **options)


def rows(report, folder, **wanted):
    found = report(folder).rows("robustness.csv")
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def test_recovered_shares_are_those_worked_by_hand(report, tmp_path):
    original(tmp_path / "runs")
    for seed, count in ((0, 130), (1, 140), (2, 132)):  # of 60 lost: 30, 40 and 32
        measured(tmp_path / "runs", fit(tmp_path / "runs", seed=seed), {**VIEWS, "jpeg-25": count})
    for seed, count in ((0, 106), (1, 103), (2, 106)):  # the controls: 6, 3 and 6
        digest = fit(tmp_path / "runs", "control", seed=seed, clean=1.0)
        measured(tmp_path / "runs", digest, {**VIEWS, "jpeg-25": count})
    (row,) = rows(report, tmp_path / "runs", tuned="augment", view="jpeg-25")
    assert (row["tuned_seeds"], row["control_seeds"], row["held_out"]) == ("0, 1, 2", "0, 1, 2", "0")
    assert float(row["share"]) == pytest.approx(34 / 60)
    assert float(row["control_share"]) == pytest.approx(5 / 60)
    assert float(row["net_share"]) == pytest.approx(29 / 60)
    assert float(row["net_share_low"]) < 29 / 60 < float(row["net_share_high"])


def test_a_codec_that_tuning_never_drew_is_held_out(report, tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), {**VIEWS, "webp-25": 140})
    (row,) = rows(report, tmp_path, view="webp-25")
    assert (row["held_out"], float(row["share"])) == ("1", pytest.approx(0.5))


@pytest.mark.parametrize("change", [{"training": None}, {"templates": ["a {}."]}, {"seeds": {"data": 5}}])
def test_a_control_has_the_same_budget(report, tmp_path, change):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), {**VIEWS, "jpeg-25": 130})
    if "training" in change:
        views = {"codecs": {"jpeg-{}": [10, 95]}, "law": "Uniform", "clean": 1.0, "flip": 0.5}
        change = {"training": {"views": views, "epochs": 99}}
    measured(tmp_path, fit(tmp_path, "control", clean=1.0, **change), {**VIEWS, "jpeg-25": 106})
    (row,) = rows(report, tmp_path, tuned="augment", view="jpeg-25")
    assert row["control_seeds"] == ("5" if "seeds" in change else "")


def test_the_control_of_a_label_free_method_is_the_original(report, tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path, "consistency", label_free=True), {**VIEWS, "jpeg-25": 130})
    written = report(tmp_path)
    assert "control: the original itself" in written.markdown
    (row,) = [row for row in written.rows("robustness.csv") if row["view"] == "jpeg-25"]
    assert (float(row["control_share"]), float(row["net_share"])) == (0, pytest.approx(0.5))
    assert "NO CONTROL" not in written.markdown


def test_a_missing_control_few_seeds_and_the_split_tuned_on_are_said(report, tmp_path):
    original(tmp_path, split="train")
    measured(tmp_path, fit(tmp_path), VIEWS, split="train")
    page = report(tmp_path).markdown
    for warning in ("NO CONTROL", "fewer than three seeds", "TESTED ON THE SPLIT IT WAS TUNED ON"):
        assert warning in page


def test_the_drop_is_split_by_a_specialist_and_its_control(report, tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path, "only", codecs={"jpeg-{}": [25, 25]}, clean=0.0), {**VIEWS, "jpeg-25": 140})
    measured(tmp_path, fit(tmp_path, "control", clean=1.0), {**VIEWS, "jpeg-25": 104})
    table = report(tmp_path).markdown
    table = table[table.index("What tuning can recover") :].splitlines()
    row = next(line for line in table if line.startswith("| jpeg-25"))
    # 60 of 200 lost; 140 - 104 = 36 beyond the control, 24 left
    assert "0.3000" in row
    assert "+0.1800" in row
    assert "60% of the drop" in row
    assert "0.1200" in row
    assert "40% of the drop" in row


def test_forgetting_is_told_by_class_and_by_data_set(report, tmp_path):
    original(tmp_path)
    some = {f"class {c}": 90 if c < 4 else 0 for c in range(10)}
    measured(tmp_path, fit(tmp_path, images_per_class=some), {**VIEWS, "original": 140})
    original(tmp_path, {"original": 150}, data="stl10")
    measured(tmp_path, "augment-0-1.0", {"original": 120}, data="stl10")
    page = report(tmp_path).markdown
    tables = [part.splitlines() for part in page.split("**Forgetting.**")[1:]]
    lines = [line for table in tables for line in table if line.startswith("| augment") and "tuned on" in line]
    assert len(lines) == 3
    assert any("| tuned on | 4 | 0.8000 | 0.7000 |" in line for line in lines)
    assert any("| never tuned on | 6 | 0.8000 | 0.7000 |" in line for line in lines)
    assert any("| never tuned on | 10 | 0.7500 | 0.6000 |" in line for line in lines)


def test_interpolated_weights_are_a_variant_of_their_own(report, tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), {**VIEWS, "jpeg-25": 130})
    measured(tmp_path, fit(tmp_path, alpha=0.5), {**VIEWS, "jpeg-25": 115})
    assert {row["tuned"] for row in rows(report, tmp_path)} == {"augment", "augment, alpha 0.5"}


def test_variants_of_one_name_are_told_apart_by_what_differs(report, tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), VIEWS)
    views = {"codecs": {"jpeg-{}": [10, 95]}, "law": "Uniform", "clean": 0.2, "flip": 0.5}
    measured(tmp_path, fit(tmp_path, seed=1, training={"views": views, "epochs": 9}), VIEWS)
    assert {row["tuned"] for row in rows(report, tmp_path)} == {"augment, epochs 3", "augment, epochs 9"}


def test_the_same_images_are_required(report, tmp_path):
    original(tmp_path)
    digest = fit(tmp_path)
    measured(tmp_path, digest, VIEWS)
    table = tmp_path / f"test-{digest}-" / "images.csv"
    head, *lines = table.read_text().splitlines()
    table.write_text("\n".join([head, *(f"9{line}" for line in lines)]) + "\n")
    assert "their images.csv have other indices or labels" in report(tmp_path).markdown


def test_a_tuned_encoder_without_its_original_says_so(report, tmp_path):
    measured(tmp_path, fit(tmp_path), VIEWS)
    assert "The encoder was not tested here that these were tuned from" in report(tmp_path).markdown


def test_runs_without_fits_have_no_such_section_and_fits_are_no_unfinished_runs(report, tmp_path, capsys):
    original(tmp_path)
    assert "Robustness by fine-tuning" not in report(tmp_path).markdown
    fit(tmp_path)
    assert "Robustness by fine-tuning" not in report(tmp_path).markdown
    assert "not used" not in capsys.readouterr().out


def test_the_attribution_of_the_same_images_is_compared_before_and_after(report, tmp_path):
    def attribution(indices, totals, masses, rule="Adaptive"):
        images = [
            Explanation(index, 0, {}, {}, {"jpeg-25": ViewExplanation(total, total, 0.0, 9, 0.0, True, {"mass": mass})})
            for index, total, mass in zip(indices, totals, masses, strict=True)
        ]
        return {"baseline": "original", "rule": {"name": rule}, **summary(images)}

    def explain(folder, record):
        path = folder / "results.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "attribution": record}))

    original(tmp_path)
    explain(tmp_path / "test-hash of RN50-", attribution([3, 1, 2], [3.0, 1.0, 9.0], [4.0, 2.0, 9.0]))
    for name, rule in (("augment", "Adaptive"), ("other", "Trapezoid")):
        digest = fit(tmp_path, name, codecs={"jpeg-{}": [10, 95] if name == "augment" else [20, 95]})
        measured(tmp_path, digest, {**VIEWS, "jpeg-25": 130})
        explain(tmp_path / f"test-{digest}-", attribution([1, 3, 7], [0.5, 3.5, 0.0], [1.0, 3.0, 0.0], rule))
    page = report(tmp_path).markdown
    assert "| augment | jpeg-25 | IG | 3 " not in page
    # images 3 and 1: 3 to 3.5 and 1 to 0.5; mass 4 to 3 and 2 to 1
    assert "| augment | jpeg-25 | IG | 2 | 2.0000 | 2.0000 | 0.0000" in page
    assert "| augment | jpeg-25 | mass | 2 | 3.0000 | 2.0000 | −1.0000" in page
    assert "| other | jpeg-25 | IG" not in page


def test_figures_are_written(report, tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), {**VIEWS, "jpeg-25": 130})
    folder = report(tmp_path).folder / "figures"
    names = {path.name for path in folder.glob("*robustness*.png")}
    assert names == {"cifar10-test-robustness-shares.png", "cifar10-test-robustness-interpolation.png"}
    assert np.all([path.stat().st_size > 5000 for path in folder.glob("*robustness*.png")])
