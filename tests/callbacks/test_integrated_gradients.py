"""The callback through the command line: what it writes, and that it is the same however it runs."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.attribution.spectra import PARTS
from bench.attribution.statistics import attribution_statistics
from bench.cli import main
from datamodules import Synthetic
from tests.support.archives import write_cifar10
from tests.support.processes import run_ranks
from tests.support.results import read_record

TARGETS = ["jpeg-75", "jpeg-50", "jpeg-25"]
VIEWS = ["original", *TARGETS]
SIDE = 32  # of the tiny CLIP's input


@pytest.fixture(scope="module")
def explain(repository, tmp_path_factory, tiny_clip):
    """Runs `test` on a config in a folder of its own; gives the run's folder."""

    def explain(config, *options, encoder=tiny_clip, data=None):
        root = tmp_path_factory.mktemp(config)
        if data is not None:
            data(root / "data")
        arguments = [
            *("test", "--config", str(repository / "configs" / f"{config}.yaml"), *encoder),
            *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false"),
            *("--data.num_workers=0", *options),
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            patch.setattr("sys.argv", ["lightning"])
            (root / "configs").symlink_to(repository / "configs")
            main(arguments)
        [folder] = (root / "runs" / config).iterdir()
        return folder

    return explain


# the report's own pictures, which take most of the time, left out
ONLY_THESE = "--trainer.callbacks=[callbacks.ResultsWriter, callbacks.IntegratedGradients]"


def option(name, value):
    return f"--trainer.callbacks.{name}={value}"


def maps(folder):
    """Attributions by image, float32 [T, 3, S, S]."""
    return {int(file.stem): np.load(file)["attributions"] for file in (folder / "attributions/maps").glob("*.npz")}


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "histograms": 0})
    accumulator.Reload()
    return accumulator


def text(accumulator, tag):
    return accumulator.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode()


@pytest.fixture(scope="module")
def folder(explain):
    return explain("demo_ig", "--data.limit=12", option("images.n", 3), option("save_maps", "true"))


@pytest.fixture(scope="module")
def table(folder):
    return pd.read_csv(folder / "attributions/table.csv")


@pytest.fixture(scope="module")
def images(folder):
    return pd.read_csv(folder / "images.csv").pivot(index="index", columns="view")


class TestReport:
    def test_images_are_those_with_the_largest_rise_over_all_views(self, table, images):
        rise = images["loss"][TARGETS].max(axis=1) - images["loss"]["original"]
        assert table["index"].tolist() == rise.nlargest(3).index.tolist()

    def test_table_repeats_what_the_run_measured(self, folder, table, images):
        names = read_record(folder)["data"]["class_names"]
        rows = images.loc[table["index"]]
        assert table["label"].tolist() == [names[label] for label in rows["label"]["original"]]
        for view in VIEWS:
            np.testing.assert_allclose(table[f"score/{view}"], rows["probability"][view], rtol=1e-7)
            assert table[f"predicted/{view}"].tolist() == [names[number] for number in rows["prediction"][view]]

    def test_sums_equal_the_rise_of_the_loss_within_the_residual(self, table, images):
        rows = images.loc[table["index"]]["loss"]
        for view in TARGETS:
            difference, residual = table[f"loss_difference/{view}"], table[f"residual/{view}"]
            np.testing.assert_allclose(difference, rows[view] - rows["original"], atol=1e-5)
            np.testing.assert_allclose((table[f"ig/{view}"] - difference).abs(), residual, atol=1e-8)
            assert (residual <= 1e-3 * difference.abs() + 1e-5).all()  # a smooth encoder

    def test_maps_hold_what_the_encoder_saw_and_sum_to_the_table(self, folder, table):
        data = Synthetic(num_workers=0)
        data.setup("test")
        for _, row in table.iterrows():
            arrays = np.load(folder / f"attributions/maps/{row['index']}.npz")
            assert arrays["views"].tolist() == VIEWS
            assert arrays["targets"].tolist() == TARGETS
            assert arrays["attributions"].dtype == np.float32
            sums = arrays["attributions"].sum(axis=(1, 2, 3), dtype=np.float64)
            np.testing.assert_allclose(sums, [row[f"ig/{view}"] for view in TARGETS], atol=1e-6)
            sample = data.views_of([row["index"]])[0]
            for view, image in zip(VIEWS, arrays["images"], strict=True):
                seen = Image.fromarray(sample.views[view].permute(1, 2, 0).numpy()).resize((SIDE, SIDE), Image.BICUBIC)
                np.testing.assert_array_equal(image.transpose(1, 2, 0), np.asarray(seen))

    def test_record_holds_every_statistic_per_image_and_its_mean(self, folder, table):
        record = read_record(folder)["attribution"]
        assert record["baseline"] == "original"
        assert record["selection"] == {"name": "LargestLossIncrease", "n": 3, "view": None}
        assert record["rule"]["name"] == "Adaptive"
        assert record["indices"] == table["index"].tolist()
        found = maps(folder)
        for number, view in enumerate(TARGETS):
            stacked = torch.from_numpy(np.stack([found[index][number] for index in record["indices"]]))
            expected = attribution_statistics(stacked, patch_period=8, block_period=8)
            measured = record["views"][view]
            for name, values in vars(expected).items():
                of_images = [np.nan if value is None else value for value in measured["per_image"][name]]
                np.testing.assert_allclose(of_images, values, rtol=1e-9)
            assert measured["mean"]["gini"] == pytest.approx(expected.means()["gini"])
            assert measured["residual"]["median"] == pytest.approx(table[f"residual/{view}"].median(), rel=1e-6)
        assert record["evaluations"] == sum(table[f"evaluations/{view}"].sum() for view in TARGETS)

    def test_parts_frequencies_and_blocks_sum_to_the_table(self, folder, table):
        frequencies = pd.read_csv(folder / "attributions/frequencies.csv")
        for view in TARGETS:
            parts = pd.DataFrame({part: table[f"{part}/{view}"] for part in PARTS})
            np.testing.assert_allclose(parts.sum(axis=1), table[f"ig/{view}"], rtol=1e-5, atol=1e-5)
            rows = frequencies[frequencies["view"] == view]
            outside = (parts["subsampling"] + parts["rounding"]).mean()
            np.testing.assert_allclose(rows["nats"].sum() + outside, table[f"ig/{view}"].mean(), rtol=1e-5, atol=1e-5)
            assert rows["block_side"].tolist() == [8] * 64 + [16] * 128
            for _, row in table.iterrows():
                arrays = np.load(folder / f"attributions/maps/{row['index']}.npz")
                assert arrays[f"blocks/{view}"].shape == (4, 4)
                rest = row[f"subsampling/{view}"]
                kept = [arrays[f"frequencies/{view}"].sum() + rest, arrays[f"blocks/{view}"].sum()]
                np.testing.assert_allclose(kept, row[f"ig/{view}"], atol=2 * abs(row[f"rounding/{view}"]) + 1e-5)

    def test_the_costliest_blocks_are_those_of_the_maps(self, folder, table):
        blocks = pd.read_csv(folder / "attributions/blocks.csv")
        for view, rows in blocks.groupby("view"):
            found = {
                index: np.load(folder / f"attributions/maps/{index}.npz")[f"blocks/{view}"] for index in table["index"]
            }
            first = rows.iloc[0]
            assert first["nats"] == pytest.approx(max(nats.max() for nats in found.values()))
            assert first["nats"] == pytest.approx(found[first["index"]][first["y"] // 8, first["x"] // 8])
            assert first["image_nats"] == pytest.approx(found[first["index"]].sum())
            assert rows["nats"].is_monotonic_decreasing

    def test_tensorboard_has_the_pictures_of_the_files(self, folder, table):
        found = events(folder)
        for index in table["index"]:
            [event] = found.Images(f"attribution_all_views/{index}")
            written = np.asarray(Image.open(folder / f"attributions/{index}.png"))
            assert (event.width, event.height) == (written.shape[1], written.shape[0])
            assert written.std() > 10
        pictures = {tag for tag in found.Tags()["images"] if tag.startswith("attribution/")}
        assert pictures == {f"attribution/{index}/{view}" for index in table["index"] for view in TARGETS}
        for view in TARGETS:
            [event] = found.Images(f"attribution_frequencies/{view}")
            assert event.width > 1000

    def test_tensorboard_has_the_papers_table_and_the_meaning_of_colours(self, folder, table):
        found = events(folder)
        lines = text(found, "attribution/table").splitlines()
        expected = [(row, view) for _, row in table.iterrows() for view in VIEWS]
        for line, (row, view) in zip(lines[2:], expected, strict=True):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            mark = "✓" if row[f"predicted/{view}"] == row["label"] else "✗"
            assert cells[:4] == [str(row["index"]), row["label"], view, f"{mark} {row[f'predicted/{view}']}"]
            assert cells[4] == f"{row[f'score/{view}']:.4f}"
            assert cells[5] == ("" if view == "original" else f"{row[f'ig/{view}']:+.4f}")
        assert "orange: compression raised the loss" in text(found, "attribution/legend")
        assert "attribution/warning/text_summary" not in found.Tags()["tensors"]

    def test_tensorboard_has_scalars_of_residual_and_statistics_and_no_histogram_of_three_images(self, folder):
        found, record = events(folder), read_record(folder)["attribution"]
        for view in TARGETS:
            for name in ("residual", "gini", "mass_top_1", "neighbour_correlation", "positive_share", "evaluations"):
                [scalar] = found.Scalars(f"attribution/{name}/{view}")
                assert scalar.value == pytest.approx(record["views"][view]["mean"][name], rel=1e-6)
            assert found.Tags()["histograms"] == []
            [scalar] = found.Scalars(f"attribution/residual_median/{view}")
            assert scalar.value == pytest.approx(record["views"][view]["residual"]["median"], rel=1e-6)


# without TensorBoard, whose pictures would take most of the time
CSV_LOGGER = (
    "--trainer.logger={class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: runs, name: demo_ig}}"
)
CHOICE = (
    CSV_LOGGER,
    *(ONLY_THESE, "--data.limit=5", option("images", "First"), option("images.n", 5)),
    *(option("figures", 1), option("save_maps", "true")),
)


@pytest.fixture(scope="module")
def expected(explain):
    return maps(explain("demo_ig", *CHOICE))


class TestHoweverItRuns:
    @pytest.mark.parametrize("change", ["--trainer.precision=bf16-mixed", "--trainer.inference_mode=false"])
    def test_maps_are_bit_for_bit_those_of_the_float32_run_under_inference_mode(self, explain, expected, change):
        measured = maps(explain("demo_ig", *CHOICE, change))
        assert measured.keys() == expected.keys()
        for index, attributions in measured.items():
            np.testing.assert_array_equal(attributions, expected[index])

    # of one image the second process has neither outcome nor attribution
    @pytest.mark.parametrize("images", [5, pytest.param(1, marks=pytest.mark.slow)])
    def test_two_gloo_processes_equal_one(self, repository, tiny_clip, tmp_path, expected, images):
        options = [
            *("test", "--config", repository / "configs/demo_ig.yaml", *tiny_clip, *CHOICE),
            *("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"),
            *("--trainer.enable_progress_bar=false", f"--trainer.logger.save_dir={tmp_path}"),
            *("--data.num_workers=0", f"--data.limit={images}"),
        ]
        run_ranks(options, tmp_path, 2)
        [folder] = (tmp_path / "demo_ig").iterdir()
        table, measured = pd.read_csv(folder / "attributions/table.csv"), maps(folder)
        assert table["index"].tolist() == list(range(images))
        assert sorted(measured) == list(range(images))
        for index in measured.keys() & expected.keys():
            # relative L1; batches of another shape round differently, by a few units in the last place of a gradient
            error = np.abs(measured[index] - expected[index]).sum() / np.abs(expected[index]).sum()
            assert error < 1e-5

    def test_files_and_record_are_complete_without_tensorboard_and_with_callbacks_in_another_order(self, explain):
        callbacks = "[{class_path: callbacks.IntegratedGradients}, {class_path: callbacks.ResultsWriter}]"
        options = (f"--trainer.callbacks={callbacks}", CSV_LOGGER, "--data.limit=2")
        folder = explain("demo_ig", *options)
        assert read_record(folder)["attribution"]["indices"] == [0, 1]
        assert {file.name for file in (folder / "attributions").iterdir()} == {
            *("0.png", "1.png", "table.csv", "frequencies.csv", "blocks.csv")
        }


class TestOptions:
    def test_only_so_many_figures_but_a_table_of_all(self, explain):
        folder = explain("demo_ig", ONLY_THESE, "--data.limit=4", option("images", "First"), option("figures", 1))
        assert [file.name for file in (folder / "attributions").glob("*.png")] == ["0.png"]
        assert len(pd.read_csv(folder / "attributions/table.csv")) == 4

    def test_a_rule_that_hits_its_cap_says_so(self, explain):
        rule = (option("rule.tolerance", 1e-12), option("rule.smooth_tolerance", 1e-12), option("rule.max_points", 9))
        with pytest.warns(UserWarning, match="6 of 6 maps hit the rule's cap"):
            folder = explain(
                "demo_ig", ONLY_THESE, "--data.limit=2", option("images", "First"), option("figures", 0), *rule
            )
        assert read_record(folder)["attribution"]["views"]["jpeg-25"]["not_converged"] == 2
        assert "raise its max_points" in text(events(folder), "attribution/warning")

    def test_nothing_chosen_is_one_line(self, explain, caplog):
        folder = explain(
            "demo_ig", ONLY_THESE, "--data.limit=2", "--data.degradations=[jpeg-100]", option("images", "Flipped")
        )
        assert "chooses none of this run's images" in caplog.text
        assert "attribution" not in read_record(folder)
        assert not (folder / "attributions").exists()


class TestConfigs:
    def test_demo_runs_as_it_is(self, explain):
        folder = explain("demo_ig", "--data.limit=30", option("images.n", 2), encoder=[])
        record = read_record(folder)["attribution"]
        assert len(record["indices"]) == 2
        assert record["views"]["jpeg-25"]["mean"]["patch_grid"] is None  # two strides wide: no spectrum to speak of

    def test_cifar10(self, explain):
        options = ("--data.verify_checksums=false", option("images.n", 2))
        folder = explain("cifar10_ig", *options, data=lambda root: write_cifar10(root, count=6))
        assert len(read_record(folder)["attribution"]["indices"]) == 2

    def test_paper_follows_the_released_code(self, explain):
        options = ("--data.verify_checksums=false", option("figures", 1))
        folder = explain("paper_ig", *options, data=lambda root: write_cifar10(root, count=30))
        record, table = read_record(folder), pd.read_csv(folder / "attributions/table.csv")
        assert record["model"]["mean"] == [0, 0, 0]
        assert record["model"]["std"] == [1, 1, 1]
        assert record["model"]["templates"] == ["This is a image of a {}."]
        assert record["attribution"]["baseline"] == "jpeg-100"
        assert record["attribution"]["rule"] == {"name": "Trapezoid", "n": 50}
        assert table["index"].tolist() == list(range(20, 30))
        assert [column for column in table if column.startswith("ig/")] == [f"ig/{view}" for view in TARGETS]
        loss = pd.read_csv(folder / "images.csv").pivot(index="index", columns="view")["loss"]
        for view in TARGETS:
            assert set(table[f"evaluations/{view}"]) == {51}
            np.testing.assert_allclose(table[f"ig/{view}"], loss[view] - loss["jpeg-100"], atol=2e-3)
        legend = text(events(folder), "attribution/legend")
        assert "green: compression raised the loss; red: compression lowered the loss; compared with jpeg-100" in legend


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([option("baseline", "jpeg-100")], "'jpeg-100' is not a view of this run: choose one of original, jpeg-75"),
        ([option("images.view", "jpeg-5")], "'jpeg-5' is not a view of this run"),
        ([option("images.view", "original")], "chooses images by view 'original', which is its baseline"),
        (["--data.degradations=[]"], "nothing to compare with 'original'"),
        (
            ["--data.degradations=[crop-8+jpeg-50]"],
            "shows another part of the image than its baseline",
        ),
        (
            [option("images", "{class_path: bench.attribution.selection.Indices, init_args: {indices: [3]}}")],
            "image 3 is not part",
        ),
        ([option("images.n", 0)], "n counts images"),
        ([option("max_batch", 0)], "max_batch=0"),
        ([option("overlay.mass", 0)], "mass=0"),
        (
            [option("overlay", "{class_path: bench.attribution.PaperOverlay, init_args: {raised: green}}")],
            "two different colours",
        ),
    ],
)
def test_mistakes_end_in_one_line_before_anything_is_measured(explain, capsys, tmp_path, options, message):
    with pytest.raises(SystemExit, match="2"):
        explain("demo_ig", "--data.limit=2", f"--trainer.logger.save_dir={tmp_path}", *options)
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line
    left = [file.name for file in tmp_path.rglob("*") if file.is_file()]
    assert all("tfevents" in name for name in left)  # Lightning opens it before it asks any callback
