"""The robustness section of made-up runs, against counting by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench.attribution.explanations import AttributionRecord, Explanation, ViewExplanation
from bench.attribution.quadrature import Trapezoid
from bench.attribution.selection import First
from bench.report.sections import attribution_change, robustness
from bench.report.tables import lay_out
from bench.report.tuned import can_draw
from bench.runs.finetuning_record import Export, FineTuningRecord, Training, TrainingViews
from bench.runs.folder import load_run
from bench.runs.json_values import plain
from bench.runs.provenance import DataRecord, ModelRecord, SoftwareRecord
from bench.runs.record import RunInfo
from bench.statistics.paired import drop_interval
from datamodules.degradations import parse
from tests.support import made_up
from tests.support.reports import Written, choices, frame, groups_of, tables, terms, texts

IMAGES = 200
VIEWS = {"original": 160, "jpeg-25": 100, "webp-25": 120}
CLASSES = tuple(f"class {c}" for c in range(10))


def fit(folder, name="augment", *, seed=0, clean=0.2, codecs=None, alpha=1.0, label_free=False, epochs=3, **changes):
    """A record of a fit; gives the hash of its encoder."""
    digest = f"{name}-{seed}-{alpha}-{epochs}"
    record = FineTuningRecord(
        name=name,
        method={"objective": {"name": "Augment", "label_free": label_free}, "trainable": {"name": "WholeTower"}},
        original=ModelRecord("RN50", "openai", weights_sha256="hash of RN50"),
        templates=(made_up.TEMPLATE,),
        training=Training(
            TrainingViews(codecs or {"jpeg-{}": (10, 95)}, "Uniform", clean, 0.5), epochs, 10, 64, 1, "32-true"
        ),
        data=DataRecord("cifar10", "train", CLASSES),
        images_per_class=dict.fromkeys(CLASSES, 90),
        validation_images=50,
        seed=seed,
        seed_everything=None,
        frozen_sha256="frozen",
        interpolation={
            a: {"original": {"precision": 0.9 - a / 10}, "jpeg-25": {"precision": 0.5 + a / 10}} for a in (0, 0.5, 1)
        },
        exports=(Export(alpha, True, "encoder.safetensors", digest),),
        software=SoftwareRecord(),
        run=RunInfo("fit"),
    )
    place = folder / f"fit-{digest}"
    place.mkdir(parents=True)
    replace(record, **changes).write(place)
    (place / "config.yaml").write_text("")
    return digest


def measured(folder, digest, counts, *, seconds=None, file=None, **options):
    """A test run of an encoder; its first images are right."""
    predictions = made_up.nested(counts, IMAGES)
    model = {"weights_sha256": digest, "pretrained": file or f"{digest}.safetensors", **options.pop("model", {})}
    record = replace(made_up.run_record(predictions, model=model, **options), run=RunInfo("test", seconds=seconds))
    return made_up.write_run(folder / f"test-{digest}-{options.get('data', '')}", record, predictions)


def original(folder, counts=VIEWS, **options):
    return measured(folder, "hash of RN50", counts, **options)


def section_of(folder):
    return robustness.section(groups_of(folder)[0], choices(folder))


def rows(folder, **wanted):
    found = frame(section_of(folder), "robustness.csv")
    return [row for row in found if all(row[key] == value for key, value in wanted.items())]


def test_files_of_one_name_are_called_after_how_they_were_tuned(tmp_path):
    original(tmp_path)
    fits = [{"seed": 0}, {"seed": 1}, {"epochs": 9}, {"clean": 1.0}, {"clean": 0.0, "codecs": {"jpeg-{}": (25, 25)}}]
    for number, options in enumerate(fits):
        digest = f"{number}"
        fit(tmp_path / digest, exports=(Export(1.0, True, "encoder.safetensors", digest),), **options)
        measured(tmp_path, digest, VIEWS, file="a/augment.safetensors")
    measured(tmp_path, "of no fit", VIEWS, file="b/augment.safetensors")
    measured(tmp_path, "of none, too", VIEWS, file="c/augment.safetensors")
    assert [entry.label for entry in groups_of(tmp_path)[0].entries] == [
        "RN50 (augment), clean-only control",
        "RN50 (augment), epochs 3, seed 0",
        "RN50 (augment), epochs 3, seed 1",
        "RN50 (augment), epochs 9",
        "RN50 (augment), only jpeg-25",
        "RN50 (augment), weights_sha256 of no fi",
        "RN50 (augment), weights_sha256 of none,",
        "RN50 (hash of RN50.safetensors)",
    ]


def test_a_setting_of_any_length_makes_a_short_label_and_nothing_of_it_runs(tmp_path):
    original(tmp_path / "runs")
    for digest in ("1", "2"):
        objective = {"name": "Augment", "label_free": False, "way": f"{digest}\x1b[2J<script>{'../' * 9999}"}
        exports = (Export(1.0, True, "encoder.safetensors", digest),)
        fit(tmp_path / "runs" / digest, method={"objective": objective, "trainable": {"name": "All"}}, exports=exports)
        measured(tmp_path / "runs", digest, VIEWS, file="a/augment.safetensors")
    labels = [entry.label for entry in groups_of(tmp_path / "runs")[0].entries]
    assert [label.startswith("RN50 (augment), way ") for label in labels] == [True, True, False]
    assert all(len(label) < 100 for label in labels)
    written = Written(tmp_path / "report", tmp_path / "runs")
    assert "\x1b" not in written.screen + written.page + written.markdown
    assert "<script>../" not in written.page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "runs"]


@pytest.mark.parametrize(
    "setting",
    [{"templates": ["A {}"]}, {"precision": "bf16-mixed"}, {"mean": [0.5, 0.5, 0.5]}],
    ids=["prompts", "arithmetic", "normalisation"],
)
def test_what_was_tuned_is_held_against_an_original_that_was_tested_alike(tmp_path, setting):
    digest = fit(tmp_path)
    for place, model, before, after in [("usual", {}, 100, 130), ("other", setting, 90, 150)]:
        measured(tmp_path / place, "hash of RN50", {**VIEWS, "jpeg-25": before}, model=model)
        measured(tmp_path / place, digest, {**VIEWS, "jpeg-25": after}, model=model)
    section, (group,) = section_of(tmp_path), groups_of(tmp_path)
    shares = {
        row["original"]: row["share"]
        for table in tables(section).values()
        if table.data == "robustness.csv"
        for row in table.frame.to_dict("records")
        if row["view"] == "jpeg-25"
    }
    assert sorted(shares.values()) == pytest.approx([30 / 60, 60 / 70])
    assert shares.keys() == {entry.label for entry in group.entries if "hash of RN50" in entry.label}


def test_what_was_tuned_is_not_held_against_an_original_with_other_prompts(tmp_path):
    original(tmp_path, model={"templates": ["A {}"]})
    measured(tmp_path, fit(tmp_path), VIEWS)
    [said] = section_of(tmp_path).blocks
    assert said.startswith("The encoder was not tested here that these were tuned from, with the same prompts")


@pytest.mark.parametrize(
    ("everything", "said"),
    [
        (["0", "1", "2"], "0 (seed_everything 0), 0 (seed_everything 1), 0 (seed_everything 2)"),
        (["7", None, "7"], "0 (seed_everything not set), 0 (seed_everything 7), 0 (seed_everything 7, fit 2)"),
    ],
)
def test_fits_of_one_seed_of_the_data_are_all_counted(tmp_path, everything, said):
    original(tmp_path)
    for number, (one, right) in enumerate(zip(everything, (112, 130, 142), strict=True)):
        exports = (Export(1.0, True, "encoder.safetensors", f"{number}"),)
        fit(tmp_path / f"{number}", seed_everything=one, exports=exports)
        measured(tmp_path, f"{number}", {**VIEWS, "jpeg-25": right})
    (row,) = rows(tmp_path, view="jpeg-25")
    assert row["share"] == pytest.approx((12 + 30 + 42) / 3 / 60)
    assert row["tuned_seeds"] == said
    assert "fewer than three seeds" not in terms(section_of(tmp_path))["augment"]


def test_labels_tell_fits_of_one_seed_of_the_data_apart(tmp_path):
    original(tmp_path)
    for one in ("0", "1"):
        exports = (Export(1.0, True, "encoder.safetensors", one),)
        fit(tmp_path / one, seed_everything=one, exports=exports)
        measured(tmp_path, one, VIEWS, file="a/augment.safetensors")
    labels = [entry.label for entry in groups_of(tmp_path)[0].entries]
    assert labels[:2] == ["RN50 (augment), seed_everything 0", "RN50 (augment), seed_everything 1"]


def test_recovered_shares_are_those_worked_by_hand(tmp_path):
    original(tmp_path / "runs")
    for seed, count in ((0, 130), (1, 140), (2, 132)):  # of 60 lost: 30, 40 and 32
        measured(tmp_path / "runs", fit(tmp_path / "runs", seed=seed), {**VIEWS, "jpeg-25": count})
    for seed, count in ((0, 106), (1, 103), (2, 106)):  # the controls: 6, 3 and 6
        digest = fit(tmp_path / "runs", "control", seed=seed, clean=1.0)
        measured(tmp_path / "runs", digest, {**VIEWS, "jpeg-25": count})
    (row,) = rows(tmp_path / "runs", tuned="augment", view="jpeg-25")
    assert (row["tuned_seeds"], row["control_seeds"], row["held_out"]) == ("0, 1, 2", "0, 1, 2", 0)
    assert row["share"] == pytest.approx(34 / 60)
    assert row["control_share"] == pytest.approx(5 / 60)
    assert row["net_share"] == pytest.approx(29 / 60)
    assert row["net_share_low"] < 29 / 60 < row["net_share_high"]
    assert row["drop_points_high"] == 100 * drop_interval(60, 0, 200).high  # as in cells.csv


def test_a_codec_that_tuning_never_drew_is_held_out(tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), {**VIEWS, "webp-25": 140})
    (row,) = rows(tmp_path, view="webp-25")
    assert (row["held_out"], row["share"]) == (1, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("change", "seeds"), [({"epochs": 99}, ""), ({"templates": ("a {}.",)}, ""), ({"seed": 5}, "5")]
)
def test_a_control_has_the_same_budget(tmp_path, change, seeds):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), {**VIEWS, "jpeg-25": 130})
    measured(tmp_path, fit(tmp_path, "control", clean=1.0, **change), {**VIEWS, "jpeg-25": 106})
    (row,) = rows(tmp_path, tuned="augment", view="jpeg-25")
    assert row["control_seeds"] == seeds


def test_a_label_free_method_is_held_against_its_own_control_where_that_was_tested(tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path, "consistency", label_free=True), {**VIEWS, "jpeg-25": 130})
    control = fit(tmp_path, "consistency", seed=0, clean=1.0, label_free=True, alpha=1)
    assert control == "consistency-0-1-3"
    measured(tmp_path, control, {**VIEWS, "jpeg-25": 106})
    (row,) = rows(tmp_path, tuned="consistency", view="jpeg-25")
    assert (row["control_seeds"], row["net_share"]) == ("0", pytest.approx(24 / 60))


def test_the_control_of_a_label_free_method_is_the_original(tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path, "consistency", label_free=True), {**VIEWS, "jpeg-25": 130})
    assert "control: the original itself" in terms(section_of(tmp_path))["consistency"]
    (row,) = rows(tmp_path, view="jpeg-25")
    assert (row["control_share"], row["net_share"], row["has_control"]) == (0, pytest.approx(0.5), True)


def test_a_missing_control_few_seeds_and_the_split_tuned_on_are_said(tmp_path):
    original(tmp_path, split="train")
    measured(tmp_path, fit(tmp_path), VIEWS, split="train")
    section = section_of(tmp_path)
    for warning in ("control: none", "fewer than three seeds", "TESTED ON THE SPLIT IT WAS TUNED ON"):
        assert warning in terms(section)["augment"]
    shares = next(table for name, table in tables(section).items() if name.endswith("recovered"))
    assert lay_out(shares).rows[0][1].details[-2:] == ("0.00, NO CONTROL", "seen")


HELD_OUT = "tested on images of that split that were not fitted to"
FITTED = "TESTED ON IMAGES THAT IT WAS TUNED ON"
UNKNOWN = "TESTED ON THE SPLIT IT WAS TUNED ON, on images that may have been fitted to"


@pytest.mark.parametrize(
    ("fitted", "every", "tested", "said"),
    [
        ({"limit": 1000}, 10, {"every": 5, "limit": 100}, FITTED),  # half of them, 5, 15, ...
        ({"limit": 1000}, 10, {"every": 10, "limit": 100}, HELD_OUT),
        ({"limit": 1000}, 10, {"every": 20}, HELD_OUT),  # from 1000 on none was chosen
        ({"every": 2, "limit": 20}, 3, {"every": 6, "limit": 7}, HELD_OUT),
        ({"indices": (9, 3, 8, 1, 7, 5)}, 3, {"indices": [9, 1]}, HELD_OUT),
        ({"indices": (9, 3, 8, 1, 7, 5)}, 3, {"indices": [9, 3]}, FITTED),
        ({"indices": (9, 3, 8, 1, 7, 5)}, 3, {"every": 4}, FITTED),  # 8
        ({"limit": 1000}, 10, {"indices": [20, 10, 1001]}, HELD_OUT),
        ({"images_in_split": 10**15}, 10, {"images_in_split": 10**15, "every": 30}, HELD_OUT),
        ({"limit": 1000}, None, {"every": 10, "limit": 100}, UNKNOWN),
        ({"images_in_split": None}, 10, {"every": 10}, UNKNOWN),
        ({"content": "of other files"}, 10, {"every": 10}, UNKNOWN),
        ({"name": "copy", "content": "sha256:cifar10-train"}, 10, {"every": 5}, FITTED),
        ({"split": "test", "content": "of another split"}, 10, {"every": 5}, ""),
    ],
)  # fmt: skip
def test_whether_images_were_fitted_to_is_told_by_their_positions(tmp_path, fitted, every, tested, said):
    tested = {"images_in_split": 12_000, **tested}
    data = replace(DataRecord("cifar10", "train", CLASSES, images_in_split=12_000), **fitted)
    original(tmp_path, split="train", **tested)
    measured(tmp_path, fit(tmp_path, data=data, validation_every=every), VIEWS, split="train", **tested)
    remarks = terms(section_of(tmp_path))["augment"].removesuffix(".").split("; ")
    assert [one for one in remarks if one.lower().startswith("tested on")] == ([said] if said else [])


def test_which_images_a_mean_of_weights_was_fitted_to_is_not_known(tmp_path):
    original(tmp_path, split="train", every=10)
    data = DataRecord("cifar10", "train", CLASSES, images_in_split=IMAGES)
    digest = fit(tmp_path, data=data, validation_every=10, members=("one", "other"))
    measured(tmp_path, digest, VIEWS, split="train", every=10)
    assert UNKNOWN in terms(section_of(tmp_path))["augment"]


def test_a_method_that_is_told_what_a_view_is_is_said_to_be(tmp_path):
    original(tmp_path)
    choices = {"objective": {"name": "Consistency", "label_free": True}, "trainable": {"name": "ConditionedLoRA"}}
    measured(tmp_path, fit(tmp_path, "told", method={**choices, "told": "codec and quality"}), VIEWS)
    measured(tmp_path, fit(tmp_path, "other", method=choices), VIEWS)
    protocol = terms(section_of(tmp_path))
    assert "; told the codec and quality of each view, as others are not; tuned on" in protocol["told"]
    assert "told" not in protocol["other"]


def test_the_drop_is_split_by_a_specialist_and_its_control(tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path, "only", codecs={"jpeg-{}": (25, 25)}, clean=0.0), {**VIEWS, "jpeg-25": 140})
    measured(tmp_path, fit(tmp_path, "control", clean=1.0), {**VIEWS, "jpeg-25": 104})
    (row,) = lay_out(tables(section_of(tmp_path))["robustness-gaps"]).rows
    # 60 of 200 lost; 140 - 104 = 36 beyond the control, 24 left
    assert [cell.text for cell in row] == ["jpeg-25", "only (only jpeg-25)", "30.00", "+18.00", "+12.00"]
    assert (row[3].details[-1], row[4].details[-1]) == ("60% of the drop", "40% of the drop")


def test_methods_are_placed_between_nothing_and_the_specialist(tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path, "only", codecs={"jpeg-{}": (25, 25)}, clean=0.0), {**VIEWS, "jpeg-25": 140})
    measured(tmp_path, fit(tmp_path, "control", clean=1.0), {**VIEWS, "jpeg-25": 104})
    measured(tmp_path, fit(tmp_path), {**VIEWS, "jpeg-25": 131})
    (row,) = lay_out(tables(section_of(tmp_path))["robustness-reached"]).rows
    # 131 - 104 = 27 of 36
    assert [cell.text for cell in row] == ["augment", "+13.50"]
    assert row[1].details[-1] == "75% of the specialist's"
    assert not any("information gap" in block for block in section_of(tmp_path).blocks if isinstance(block, str))


def test_a_specialist_that_another_model_outdoes_bounds_nothing(tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path, "only", codecs={"jpeg-{}": (25, 25)}, clean=0.0), {**VIEWS, "jpeg-25": 110})
    measured(tmp_path, fit(tmp_path, "control", clean=1.0), {**VIEWS, "jpeg-25": 104})
    measured(tmp_path, fit(tmp_path), {**VIEWS, "jpeg-25": 131})
    [said] = [block for block in section_of(tmp_path).blocks if isinstance(block, str)]
    assert said == (
        "At jpeg-25, augment gained 13.50 points here, the best model tuned on that view alone 3.00: the least that "
        "was left is not that model's information gap, but 16.50."
    )


@pytest.mark.parametrize(("degraded", "only"), [(161, 164), (160, 163), (158, 150)])
def test_there_is_no_share_of_a_drop_that_may_be_none(tmp_path, degraded, only):
    views = {**VIEWS, "jpeg-25": degraded}
    original(tmp_path, views)
    measured(tmp_path, fit(tmp_path, "only", codecs={"jpeg-{}": (25, 25)}, clean=0.0), {**views, "jpeg-25": only})
    measured(tmp_path, fit(tmp_path, "control", clean=1.0), views)
    measured(tmp_path, fit(tmp_path), {**views, "jpeg-25": degraded + 9})
    found = [tables(section_of(tmp_path))[f"robustness-{name}"] for name in ("gaps", "reached")]
    details = [line for table in found for row in lay_out(table).rows for cell in row for line in cell.details]
    assert details  # intervals
    assert not any("%" in line for line in details)


def test_the_price_of_a_fit_and_of_its_test_is_the_mean_over_its_seeds(tmp_path):
    original(tmp_path, seconds=0.6)  # 200 images of 3 views: 1 ms each
    for seed, seconds in ((0, 60.0), (1, 120.0)):
        run = RunInfo("fit", processes=2, device="cpu", seconds=seconds)
        measured(tmp_path, fit(tmp_path, seed=seed, run=run), VIEWS, seconds=1.2 + 1.2 * seed)
    measured(tmp_path, fit(tmp_path, "old", epochs=4), VIEWS)  # a record that does not say it
    price = tables(section_of(tmp_path))["robustness-price"]
    assert texts(price) == [
        ("augment", "–", "900", "3", "1.5", "2 x cpu", "3.00"),
        ("old", "–", "900", "4", "–", "", "–"),
    ]
    assert [row[-1].details for row in lay_out(price).rows] == [("3.00 times the original's",), ()]


def test_forgetting_is_told_by_class_and_by_data_set(tmp_path):
    original(tmp_path)
    some = {f"class {c}": 90 if c < 4 else 0 for c in range(10)}
    measured(tmp_path, fit(tmp_path, images_per_class=some), {**VIEWS, "original": 140})
    original(tmp_path, {"original": 150}, data="stl10")
    measured(tmp_path, "augment-0-1.0-3", {"original": 120}, data="stl10")
    sections = [robustness.section(group, choices(tmp_path)) for group in groups_of(tmp_path)]
    found = [texts(table) for one in sections for name, table in tables(one).items() if name.endswith("forgetting")]
    assert found == [
        [
            ("augment", "tuned on", "4", "0.8000", "0.7000", "−10.00"),
            ("augment", "never tuned on", "6", "0.8000", "0.7000", "−10.00"),
        ],
        [("augment", "never tuned on", "10", "0.7500", "0.6000", "−15.00")],
    ]


def test_interpolated_weights_are_a_variant_of_their_own(tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), {**VIEWS, "jpeg-25": 130})
    measured(tmp_path, fit(tmp_path, alpha=0.5), {**VIEWS, "jpeg-25": 115})
    assert {row["tuned"] for row in rows(tmp_path)} == {"augment", "augment, alpha 0.5"}


def test_variants_of_one_name_are_told_apart_by_what_differs(tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), VIEWS)
    measured(tmp_path, fit(tmp_path, seed=1, epochs=9), VIEWS)
    assert {row["tuned"] for row in rows(tmp_path)} == {"augment, epochs 3", "augment, epochs 9"}


def test_no_more_settings_are_said_than_tell_variants_apart(tmp_path):
    original(tmp_path)
    for name, numbers, epochs in [("LoRA", 100, 3), ("WholeTower", 900, 3), ("WholeTower", 900, 9)]:
        objective = {"name": "Augment", "label_free": False}
        method = {"objective": objective, "trainable": {"name": name}, "trained_parameters": numbers}
        exports = (Export(1.0, True, "encoder.safetensors", f"{name}-{epochs}"),)
        fit(tmp_path / name, epochs=epochs, method=method, exports=exports)
        measured(tmp_path, f"{name}-{epochs}", VIEWS)
    assert {row["tuned"] for row in rows(tmp_path)} == {
        "augment, LoRA", "augment, WholeTower, epochs 3", "augment, WholeTower, epochs 9",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("encoder", "kind", "word"),
    [
        ("hash of RN50", "restoration", "behind"),
        ("hash of another", "restoration", "behind"),
        ("hash of RN50", "adapter", "with"),
    ],
)
def test_what_goes_with_an_encoder_is_held_against_that_encoder_whichever_it_was_trained_with(
    tmp_path, encoder, kind, word
):
    digest = fit(tmp_path, "front", label_free=True)
    measured(tmp_path, encoder, VIEWS)
    predictions = made_up.nested({**VIEWS, "jpeg-25": 130}, IMAGES)
    model = {"weights_sha256": encoder, kind: "front.safetensors", f"{kind}_sha256": digest}
    record = made_up.run_record(predictions, model={**model, "pretrained": f"{encoder}.safetensors"})
    made_up.write_run(tmp_path / "restored", record, predictions)
    labels = [entry.label for entry in groups_of(tmp_path)[0].entries]
    assert labels == [f"RN50 ({encoder}.safetensors){behind}" for behind in ("", f" {word} front")]
    (row,) = rows(tmp_path, view="jpeg-25")
    assert row["net_share"] == 0.5  # 30 of 60 lost


def test_the_same_images_are_required(tmp_path):
    original(tmp_path)
    table = measured(tmp_path, fit(tmp_path), VIEWS).with_name("images.csv")
    head, *lines = table.read_text().splitlines()
    table.write_text("\n".join([head, *(f"9{line}" for line in lines)]) + "\n")
    assert "their images.csv have other indices or labels" in section_of(tmp_path).blocks[0]


def test_a_tuned_encoder_without_its_original_says_so(tmp_path):
    measured(tmp_path, fit(tmp_path), VIEWS)
    assert "The encoder was not tested here that these were tuned from" in section_of(tmp_path).blocks[0]


def test_runs_without_fits_have_no_such_section(tmp_path):
    original(tmp_path)
    assert section_of(tmp_path) is None
    fit(tmp_path)
    assert section_of(tmp_path) is None


def explain(results, indices, totals, masses, rule="Adaptive"):
    """Give a run attributions of some images."""
    images = [
        Explanation(index, 0, {}, {}, {"jpeg-25": ViewExplanation(total, total, 0.0, 9, 0.0, True, {"mass": mass})})
        for index, total, mass in zip(indices, totals, masses, strict=True)
    ]
    summary = AttributionRecord.of(images, "original", Trapezoid(50), First(len(images)))
    attribution = plain({**summary.to_json(), "rule": {"name": rule}})
    replace(load_run(results).record, attribution=attribution).write(results.parent)


def test_the_attribution_of_the_same_images_is_compared_before_and_after(tmp_path):
    explain(original(tmp_path), [3, 1, 2], [3.0, 1.0, 9.0], [4.0, 2.0, 9.0])
    for name, rule in (("augment", "Adaptive"), ("other", "Trapezoid")):
        digest = fit(tmp_path, name, codecs={"jpeg-{}": (10 if name == "augment" else 20, 95)})
        results = measured(tmp_path, digest, {**VIEWS, "jpeg-25": 130})
        explain(results, [1, 3, 7], [0.5, 3.5, 0.0], [1.0, 3.0, 0.0], rule)
    section = attribution_change.section(groups_of(tmp_path)[0], choices(tmp_path))
    # images 3 and 1: 3 to 3.5 and 1 to 0.5; mass 4 to 3 and 2 to 1
    assert texts(tables(section)["attribution-change"]) == [
        ("RN50 (augment-0-1.0-3.safetensors)", "jpeg-25", "IG", "2", "2.0000", "2.0000", "0.0000", "50%"),
        ("RN50 (augment-0-1.0-3.safetensors)", "jpeg-25", "mass", "2", "3.0000", "2.0000", "−1.0000", "100%"),
    ]
    (plot,) = [block for block in section.blocks if hasattr(block, "draw")]
    points = plot.draw().axes[0].collections[0].get_offsets()
    assert points.tolist() == [[3, 3.5], [1, 0.5]]


@pytest.mark.parametrize(
    "harm",
    [
        {"indices": 1},
        {"views": 1},
        {"views": {"jpeg-25": {"per_image": {"ig": [1.0]}}}},
        {"views": {"jpeg-25": {"per_image": {"ig": [[1.0, 2.0], [1.0, 2.0]]}}}},
        {"views": {"jpeg-25": {"per_image": {"ig": ["x" * 999, 1.0]}}}},
        {"views": {"jpeg-25": {"per_image": {"ig": [10**400, 1.0]}}}},
    ],
    ids=["indices", "views", "too few", "lists", "texts", "too many digits"],
)
def test_a_damaged_attribution_is_named_and_costs_its_own_comparison_only(tmp_path, harm):
    explain(original(tmp_path), [3, 1], [3.0, 1.0], [4.0, 2.0])
    for name in ("augment", "other"):
        results = measured(tmp_path, fit(tmp_path, name), {**VIEWS, "jpeg-25": 130})
        explain(results, [3, 1], [1.0, 1.0], [1.0, 1.0])
    record = load_run(results).record
    replace(record, attribution={**record.attribution, **harm}).write(results.parent)
    section = attribution_change.section(groups_of(tmp_path)[0], choices(tmp_path))
    assert {row[0] for row in texts(tables(section)["attribution-change"])} == {"RN50 (augment-0-1.0-3.safetensors)"}
    [said] = [block for block in section.blocks if isinstance(block, str)]
    assert said.startswith(
        "RN50 (other-0-1.0-3.safetensors) or RN50 (hash of RN50.safetensors): its attribution cannot"
    )
    assert len(said) < 400


@pytest.mark.parametrize("images", [1, 9, 10])
def test_a_change_of_attributions_has_students_interval_from_ten_images_on(tmp_path, images):
    after = np.random.default_rng(0).normal(size=images)
    explain(original(tmp_path), [*range(images)], [0.0] * images, [1.0] * images)
    results = measured(tmp_path, fit(tmp_path), {**VIEWS, "jpeg-25": 130})
    explain(results, [*range(images)], after.tolist(), [1.0] * images)
    section = attribution_change.section(groups_of(tmp_path)[0], choices(tmp_path))
    row = frame(section, "attribution_change.csv")[0]
    found = row["change_low"], row["change_high"]
    if images < 10:
        assert np.isnan(found).all()
    else:
        expected = stats.t.interval(0.95, images - 1, after.mean(), stats.sem(after))
        assert found == pytest.approx(expected, rel=1e-6)


def test_attributions_of_which_nothing_is_left_are_named(tmp_path):
    for results in (original(tmp_path), measured(tmp_path, fit(tmp_path), VIEWS)):
        replace(load_run(results).record, attribution={"rule": 1}).write(results.parent)
    section = attribution_change.section(groups_of(tmp_path)[0], choices(tmp_path))
    [said] = section.blocks
    assert said.endswith("its attribution cannot be read (KeyError('indices')).")


def test_attributions_of_an_original_with_other_prompts_are_not_compared(tmp_path):
    for prompts in ("A {}", made_up.TEMPLATE):
        explain(original(tmp_path / prompts, model={"templates": [prompts]}), [3], [float(len(prompts))], [4.0])
    explain(measured(tmp_path, fit(tmp_path), VIEWS), [3], [1.0], [1.0])
    section = attribution_change.section(groups_of(tmp_path)[0], choices(tmp_path))
    assert {row[4] for row in texts(tables(section)["attribution-change"])} == {
        f"{len(made_up.TEMPLATE)}.0000",
        "4.0000",
    }


def test_figures_show_shares_and_the_way_between_the_weights(tmp_path):
    original(tmp_path)
    measured(tmp_path, fit(tmp_path), {**VIEWS, "jpeg-25": 130})
    shares, way = [block.draw().axes for block in section_of(tmp_path).blocks if hasattr(block, "draw")]
    points = {
        axes.get_title(): [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"] for axes in shares
    }
    assert points == {"jpeg-25": [pytest.approx(0.5)], "webp-25": [0]}
    (way,) = way
    assert way.get_lines()[0].get_xydata().ravel() == pytest.approx([0.9, 0.5, 0.85, 0.55, 0.8, 0.6])


@pytest.mark.parametrize(
    ("view", "drawn"),
    [
        ("jpeg-10", True), ("jpeg-95", True), ("jpeg-9", False), ("jpeg-96", False), ("jpeg-50-444", False),
        ("webp-50", False), ("original", False), ("resize-0.5+jpeg-50", False), ("jpeg-50-x2", False),
    ],
)  # fmt: skip
def test_which_views_are_held_out(view, drawn):
    parse(view)
    assert can_draw({"jpeg-{}": [10, 95]}, view) is drawn
