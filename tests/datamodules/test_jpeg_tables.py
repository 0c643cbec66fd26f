"""JPEG with quantisation tables of one's own: what is written, what is known by name, and hostile files."""

import io
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from datamodules import Synthetic
from datamodules.degradations import curves, degrade, load_tables, parse, parse_all, quantisation, table_hashes
from datamodules.degradations.quantisation import Quantisation, TableSet, families, family, read_tables, scaled
from datamodules.errors import UserError
from datamodules.training import TrainingViews

RANDOM = np.random.default_rng(0)
IMAGE = Image.fromarray(RANDOM.integers(0, 256, (40, 30, 3), dtype=np.uint8))
LUMA, CHROMA = (tuple(RANDOM.integers(1, 256, 64).tolist()) for _ in range(2))
MINE = TableSet("mine", {25: Quantisation(LUMA, CHROMA, "4:4:4"), 50: Quantisation(CHROMA, LUMA)}, {"seed": 1})


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(quantisation, "_loaded", {})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(MINE.to_json()))
    return path


def saved(options):
    buffer = io.BytesIO()
    IMAGE.save(buffer, format="JPEG", **options)
    return buffer


@pytest.mark.parametrize("quality", [1, 10, 25, 49, 50, 51, 75, 90, 100])
def test_standard_tables_at_a_quality_are_those_of_libjpeg(quality):
    written = Image.open(saved({"quality": quality})).quantization
    at = family("mozjpeg0").at(quality)
    assert (tuple(written[0]), tuple(written[1])) == (at.luma, at.chroma)
    plain, ours = degrade(IMAGE, f"jpeg-{quality}-optimise"), degrade(IMAGE, f"jpeg-tables-mozjpeg0-{quality}")
    assert plain.encoded_bytes - ours.encoded_bytes == 69 * (at.luma == at.chroma)  # one table is written once
    assert plain.image.tobytes() == ours.image.tobytes()


def test_tables_and_subsampling_are_written_as_asked():
    opened = Image.open(saved(MINE.at(25).options()))
    assert (tuple(opened.quantization[0]), tuple(opened.quantization[1])) == (LUMA, CHROMA)
    assert [layer[1:3] for layer in opened.layer] == [(1, 1)] * 3
    assert [layer[1:3] for layer in Image.open(saved(MINE.at(50).options())).layer] == [(2, 2), (1, 1), (1, 1)]


def test_first_row_of_a_table_is_of_horizontal_frequencies():
    """Columns alternate, so that all energy is in the horizontal frequencies: only a step there decides."""
    columns = Image.fromarray(np.tile(np.uint8([112, 128]), (8, 4))).convert("RGB")
    fine = [1] * 64
    for place, kept in ((7, False), (56, True)):
        steps = list(fine)
        steps[place] = 255
        buffer = io.BytesIO()
        columns.save(buffer, format="JPEG", **Quantisation(tuple(steps), (1,) * 64).options())
        spread = float(np.asarray(Image.open(buffer).convert("L")).std())
        assert (spread > 6) == kept


def test_a_view_of_a_file_is_known_by_name_in_lists_chains_and_curves(file):
    tables = load_tables(file)
    assert (tables.scales, tables.card) == (MINE.scales, MINE.card)
    views = parse_all(["jpeg-tables-mine-{25,50}", "resize-0.5+jpeg-tables-mine-50"])
    names = [view.name for view in views]
    assert names[1:] == ["jpeg-tables-mine-25", "jpeg-tables-mine-50", "resize-0.5+jpeg-tables-mine-50"]
    assert curves(names)["jpeg-tables-mine"] == [(25, names[1]), (50, names[2])]
    view = pickle.loads(pickle.dumps(views[1]))  # as it reaches a loader process
    size = len(saved(MINE.at(25).options()).getvalue())
    assert view(IMAGE).encoded_bytes == size == degrade(IMAGE, "jpeg-tables-mine-25").encoded_bytes


def test_a_view_can_be_named_without_its_file_but_not_made():
    assert parse("jpeg-tables-mine-25").settings[0].curve == "jpeg-tables-mine"
    with pytest.raises(UserError, match="no file of the tables 'mine' was named: give it as `tables`") as error:
        parse_all("jpeg-tables-mine-25")
    assert "--data.tables" in error.value.on_command_line()
    with pytest.raises(UserError, match="no file"):
        parse("jpeg-tables-mine-25")(IMAGE)


def test_a_scale_that_is_not_there_is_refused_with_those_that_are(file):
    load_tables(file)
    with pytest.raises(UserError, match="the tables 'mine' have no scale 30: choose from 25, 50"):
        parse_all("jpeg-tables-mine-30")


def test_data_take_a_file_and_record_the_hash_of_its_tables(file):
    data = Synthetic(tables=str(file), degradations=["jpeg-tables-mine-25", "jpeg-tables-mozjpeg3-50"], limit=2)
    data.setup("test")
    assert data.describe()["tables"] == {"mine": MINE.sha256, "mozjpeg3": family("mozjpeg3").sha256}
    assert "tables" not in _described(["jpeg-25"])
    assert TableSet("other", MINE.scales).sha256 == MINE.sha256
    assert TableSet("mine", {25: MINE.at(25)}).sha256 != MINE.sha256


def _described(degradations):
    data = Synthetic(degradations=degradations, limit=2)
    data.setup("test")
    return data.describe()


class TestTraining:
    """Random views by tables of one's own."""

    def data(self, file, codecs, **options):
        views = TrainingViews(codecs)  # before its data set has loaded the tables, as a command line makes it
        data = Synthetic(tables=str(file), degradations=[], limit=8, training_views=views, **options)
        data.setup("fit")
        return data

    def test_they_are_made_with_them_in_fresh_processes_too(self, file):
        data = self.data(file, {"jpeg-tables-mine-{}": [25, 25]}, num_workers=0)
        travelling = pickle.dumps(data.train_dataloader().dataset)
        quantisation._loaded.clear()  # as in a process that is not forked
        sample = pickle.loads(travelling)[0]
        original, random = (Image.fromarray(sample.views[view].permute(1, 2, 0).numpy()) for view in sample.pixels)
        np.testing.assert_array_equal(np.asarray(random), np.asarray(degrade(original, "jpeg-tables-mine-25").image))

    def test_a_range_in_which_scales_are_missing_is_refused(self, file):
        with pytest.raises(UserError, match="no scale 26"):
            self.data(file, {"jpeg-tables-mine-{}": [25, 50]})

    def test_tables_without_a_file_are_refused(self):
        with pytest.raises(UserError, match="no file of the tables 'lost' was named"):
            Synthetic(degradations=[], training_views=TrainingViews({"jpeg-tables-lost-{}": [25, 25]}))

    def test_tables_that_are_loaded_anew_are_drawn_from(self, file, tmp_path):
        views = TrainingViews({"jpeg-tables-mine-{}": [25, 25]})
        load_tables(file)
        assert views.draw(0, 0, 0)[0].known.at(25) == MINE.at(25)
        other = TableSet("mine", {25: Quantisation(CHROMA, LUMA)}, {})
        (tmp_path / "other.json").write_text(json.dumps(other.to_json()))
        load_tables(tmp_path / "other.json")
        assert TrainingViews(views.codecs).draw(0, 0, 0)[0].known.at(25) == other.at(25)


def test_published_tables_are_within_baseline_at_every_quality():
    assert len(families()) == 9
    assert set(family("mozjpeg1").at(50).luma) == set(family("mozjpeg1").at(50).chroma) == {16}
    for name in families():
        steps = [step for tables in family(name).scales.values() for step in (*tables.luma, *tables.chroma)]
        assert (min(steps), max(steps)) == (1, 255)


def test_scaling_a_table_worked_by_hand():
    assert scaled([10, 61], 25) == (20, 122)
    assert scaled([10, 61], 75) == (5, 31)
    assert scaled([10, 61], 100) == (1, 1)


def changed(**members):
    return {**MINE.to_json(), **members}


def of_scale(key="25", **members):
    scale = {"subsampling": "4:2:0", "luma": [1] * 64, "chroma": [1] * 64, **members}
    return changed(scales={key: scale})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no `scales`"),
        (b"\xff\xfe", "no JSON"),
        (" " * (2**20 + 1), "more than 1,048,576 bytes"),
        (changed(scales={}), "no `scales`"),
        (changed(schema=2), "its schema is 2, and 1 is read"),
        (changed(schema=True), "schema"),
        (changed(name="../x"), "not letters and digits"),
        (changed(name="a" * 41), "more than 40 characters"),
        (changed(name=5), "its name is no text"),
        (changed(name="mozjpeg3"), "published"),
        (changed(card=[]), "card"),
        (changed(scales={"25": []}), "subsampling"),
        (of_scale("0"), "scale '0' is no whole number from 1 to 100"),
        (of_scale("1e1"), "scale '1e1'"),
        (of_scale(subsampling="4:1:1"), "neither 4:2:0 nor 4:4:4"),
        (of_scale(luma=[1] * 63), "luma of scale 25 is no list of 64 steps"),
        (of_scale(luma="x" * 64), "luma of scale 25 is no list"),
        (of_scale(chroma=[0] * 64), "chroma of scale 25 has a step that is no whole number from 1 to 255"),
        (of_scale(chroma=[256] * 64), "from 1 to 255"),
        (of_scale(chroma=[1.0] * 64), "from 1 to 255"),
        (of_scale(chroma=[True] * 64), "from 1 to 255"),
    ],
)
def test_a_file_that_is_none_of_tables_ends_in_one_line(tmp_path, content, reason):
    file = tmp_path / "hostile.json"
    file.write_bytes(content if isinstance(content, bytes) else _text(content).encode())
    with pytest.raises(UserError, match=reason.replace("[", r"\[")) as error:
        read_tables(file)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 500


def _text(content):
    return content if isinstance(content, str) else json.dumps(content)


def test_what_is_no_file_ends_in_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(UserError, match="file of JPEG tables"):
            read_tables(path)


def test_tables_held_to_a_rate_take_the_scales_there_are_and_their_hash_is_known(file):
    load_tables(file)
    [_, view] = parse_all(["jpeg-tables-mine-12bpp"])
    assert [step.name for step in view.steps] == ["jpeg-tables-mine-25", "jpeg-tables-mine-50"]
    assert table_hashes([view]) == {"mine": MINE.sha256}
    assert view(IMAGE).encoded_bytes in {degrade(IMAGE, step.name).encoded_bytes for step in view.steps}
    other = replace(MINE, scales={25: MINE.scales[25]})
    file.write_text(json.dumps(other.to_json()))
    load_tables(file)
    assert [step.name for step in parse_all(["jpeg-tables-mine-12bpp"])[1].steps] == ["jpeg-tables-mine-25"]
