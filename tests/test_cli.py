"""The `lightning` command as a user types it, in this process."""

import shutil
from contextlib import redirect_stdout
from io import BytesIO, StringIO

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from bench.cli import main
from bench.clip.encoders import Encoder
from bench.runs.images import read_images
from datamodules import Synthetic
from datamodules.degradations import curves
from datamodules.imagenet import class_names
from datamodules.prompts import published_templates
from tests.support.archives import write_cifar10, write_cifar10c, write_stl10
from tests.support.data_sets import cifar100, food101, save
from tests.support.options import WITHOUT_PICTURES
from tests.support.results import read_record
from tests.support.shards import of_folder, write_shards

RATES = ("encoded_bytes", "bits_per_pixel", "psnr", "ssim")
VIEWS = ["original", "jpeg-75", "jpeg-50", "jpeg-25"]
QUICK = [
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.enable_progress_bar=false",
    "--data.num_workers=0",
]


@pytest.fixture(autouse=True)
def _no_arguments_of_pytest(monkeypatch):
    monkeypatch.setattr("sys.argv", ["lightning"])


@pytest.fixture
def run(repository, tmp_path, monkeypatch, tiny_clip, capsys):
    """Runs a command in an empty folder; gives its run folder and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(command, config, *options, encoder=tiny_clip, pictures=False):
        quick = QUICK if pictures else [*QUICK, WITHOUT_PICTURES]
        main([command, "--config", str(repository / "configs" / f"{config}.yaml"), *encoder, *quick, *options])
        return max((tmp_path / "runs" / config).iterdir()), capsys.readouterr().out

    return run


@pytest.fixture
def photos(tmp_path):
    """Six lossless images of three sizes in two classes."""
    rng = np.random.default_rng(0)
    for number, (side, name) in enumerate(
        [(20, "cat"), (40, "cat"), (31, "cat"), (20, "dog"), (40, "dog"), (31, "dog")]
    ):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (side, side + 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles for CPUs with g++")
def test_a_compiled_encoder_predicts_the_same(run, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    tables = {}
    for choice in ("true", "false"):
        options = ["--data.limit=33", f"--model.compile={choice}", f"--trainer.logger.save_dir={tmp_path / 'runs'}"]
        folder, _ = run("test", "demo", *options, encoder=[])
        tables[choice] = pd.read_csv(folder / "images.csv")
    assert tables["true"]["prediction"].equals(tables["false"]["prediction"])
    assert np.allclose(tables["true"]["probability"], tables["false"]["probability"], atol=1e-5)


class TestConfigs:
    """Each config runs."""

    def test_demo_runs_as_it_is(self, run, repository, tmp_path, monkeypatch):
        monkeypatch.chdir(repository)  # whose files the config names
        options = ["--data.limit=40", f"--trainer.logger.save_dir={tmp_path / 'runs'}"]
        folder, printed = run("test", "demo", *options, encoder=[], pictures=True)
        assert read_record(folder)["images"] == 40
        assert "original  jpeg-75  jpeg-50  jpeg-25" in printed

    def test_cifar10(self, run, tmp_path):
        write_cifar10(tmp_path / "data", count=6)
        folder, _ = run("test", "cifar10", "--data.verify_checksums=false")
        record = read_record(folder)
        assert (record["images"], record["data"]["name"], record["data"]["split"]) == (6, "cifar10", "test")
        assert list(record["metrics"]) == VIEWS

    def test_stl10(self, run, tmp_path):
        write_stl10(tmp_path / "data")
        folder, _ = run("test", "stl10", "--data.verify_checksums=false", "--data.split=train")
        assert read_record(folder)["images"] == 7

    @pytest.mark.slow
    def test_codecs(self, run, tmp_path):
        write_cifar10(tmp_path / "data", count=3)
        folder, _ = run("test", "codecs", "--data.verify_checksums=false", pictures=True)
        record = read_record(folder)
        assert list(curves(record["metrics"])) == ["jpeg", "webp", "avif", "jp2-psnr"]
        assert len(record["metrics"]) == 21
        assert set(record["software"]["codecs"]) == {"JPEG", "WebP", "AVIF", "JPEG 2000"}
        for view, values in record["metrics"].items():
            assert set(RATES) & set(values) == (set() if view == "original" else set(RATES))

    def test_image_folder(self, run, photos):
        folder, _ = run("test", "image_folder", f"--data.root={photos}", "--data.class_names={dog: a good dog}")
        record = read_record(folder)
        assert record["data"]["class_names"] == ["cat", "a good dog"]
        assert record["images"] == 6
        table = pd.read_csv(folder / "images.csv")
        assert table["path"].unique().tolist() == [f"cat/{i}.png" for i in range(3)] + [
            f"dog/{i}.png" for i in (3, 4, 5)
        ]

    def test_cifar100(self, run, tmp_path):
        cifar100(tmp_path / "data")
        folder, _ = run("test", "cifar100", "--data.verify_checksums=false")
        record = read_record(folder)
        assert (record["images"], record["data"]["name"]) == (5, "cifar100")
        assert tuple(record["model"]["templates"]) == published_templates("cifar100")

    def test_cifar10c(self, run, tmp_path):
        write_cifar10(tmp_path / "data", count=2)
        write_cifar10c(tmp_path / "data")
        folder, _ = run("test", "cifar10c", "--data.verify_checksums=false")
        views = list(read_record(folder)["metrics"])
        assert len(views) == 16
        assert views[1] == "published-gaussian-noise-3"

    def test_imagenet(self, run, tmp_path):
        for wnid in class_names():
            save(tmp_path / "data/imagenet/val" / wnid / "a.JPEG", 0)
        folder, _ = run("test", "imagenet", "--data.limit=3", "--model.templates=a {}.")  # for time; the 80 are tested
        record = read_record(folder)
        assert record["data"]["class_names"] == list(class_names().values())
        assert record["data"]["lossy_source_formats"] == ["JPEG"]

    def test_torchvision(self, run, tmp_path):
        food101(tmp_path / "data")
        folder, _ = run("test", "torchvision")
        record = read_record(folder)
        assert (record["data"]["name"], record["data"]["class_names"]) == ("food101", ["apple pie", "baby back ribs"])
        assert record["model"]["templates"] == ["a photo of {}, a type of food."]

    def test_tar_shards(self, run, photos, tmp_path):
        samples, classes = of_folder(photos)
        write_shards(tmp_path / "data/shards", samples, classes, templates=["a photo of a {c}.", "one {c}"])
        folder, _ = run("test", "tar_shards")
        record = read_record(folder)
        assert (record["images"], record["model"]["templates"]) == (6, ["a photo of a {}.", "one {}"])


@pytest.fixture(scope="module")
def finished(repository, tmp_path_factory, tiny_clip):
    """A run of 60 images: its folder and what it printed."""
    root, out = tmp_path_factory.mktemp("finished"), StringIO()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out):
        patched.setattr("sys.argv", ["lightning"])
        place = ["--data.limit=60", f"--trainer.logger.save_dir={root}"]
        main(["test", "--config", str(repository / "configs/demo.yaml"), *tiny_clip, *QUICK, *place])
    return root / "demo/version_0", out.getvalue()


class TestOutputs:
    def test_record_and_table_agree_with_scikit_learn(self, finished):
        folder, printed = finished
        record, table = read_record(folder), pd.read_csv(folder / "images.csv")
        assert len(table) == 60 * len(VIEWS)
        for view, rows in table.groupby("view"):
            precision = accuracy_score(rows["label"], rows["prediction"])
            assert record["metrics"][view]["precision"] == pytest.approx(precision, abs=1e-7)
            assert record["metrics"][view]["loss"] == pytest.approx(rows["loss"].mean(), abs=1e-6)
            assert f"{precision:.4f}" in printed
        original = table[table["view"] == "original"]
        degraded = table[table["view"] == "jpeg-25"]
        flips = (original["prediction"].to_numpy() != degraded["prediction"].to_numpy()).mean()
        assert record["metrics"]["jpeg-25"]["flip_rate"] == pytest.approx(flips)
        assert original[list(RATES)].isna().all(axis=None)
        assert (degraded["encoded_bytes"] > 100).all()
        for name in RATES:
            assert record["metrics"]["jpeg-25"][name] == pytest.approx(degraded[name].mean())
        assert degraded["bits_per_pixel"].tolist() == pytest.approx((degraded["encoded_bytes"] / 128).tolist())

    def test_record_says_what_was_measured_on_what_with_what(self, finished):
        record = read_record(finished[0])
        assert record["model"]["templates"] == ["This is an image of a {}."]
        assert len(record["model"]["weights_sha256"]) == 64
        assert record["model"]["activation"] == "quickgelu"
        assert record["data"]["views"] == VIEWS
        assert record["software"]["packages"]["open_clip_torch"]
        assert record["skipped"] == []

    def test_tensorboard_holds_curves_figures_texts_and_hyperparameters(self, finished):
        record, events = read_record(finished[0]), EventAccumulator(str(finished[0]))
        events.Reload()
        tags = events.Tags()
        curve = {event.step: event.value for event in events.Scalars("quality/precision/jpeg")}
        assert curve == pytest.approx({q: record["metrics"][f"jpeg-{q}"]["precision"] for q in (25, 50, 75)})
        for name, values in record["metrics"].items():
            if name != "original":
                (event,) = [
                    one for one in events.Scalars("rate/precision/jpeg") if one.step == round(values["encoded_bytes"])
                ]
                assert event.value == pytest.approx(values["precision"])
        whole = {f"report_full_size/{picture}" for picture in ("curves", "rate", "per_class", "confusion")}
        cards = {"answer/drop/jpeg", "answer/precision/jpeg", "answer/loss/jpeg", "answer/rate"}
        assert whole | cards | {f"report/flips/{view}" for view in VIEWS[1:]} <= set(tags["images"])
        assert {tag.split("/")[0] for tag in tags["images"]} == {"answer", "report", "report_full_size"}
        assert sorted(tags["tensors"])[0] == "answer/text_summary"  # the first thing on the page
        assert {"config/text_summary", "provenance/text_summary"} <= set(tags["tensors"])
        answer = events.Tensors("answer/text_summary")[0].tensor_proto.string_val[0].decode()
        drop = 100 * record["metrics"]["jpeg-25"]["drop"]
        assert f"| jpeg-25 | {record['metrics']['jpeg-25']['precision']:.4f} | {drop:.1f} points [" in answer
        assert "epoch" not in tags["scalars"]
        text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
        assert "class_path: bench.ZeroShotEvaluation" in text
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        values = HParamsPluginData.FromString(content).session_start_info.hparams
        assert values["precision_mode"].string_value == record["model"]["precision"] == "32-true"
        assert values["weights"].string_value == record["model"]["weights_sha256"][:12]
        assert values["data"].string_value == record["data"]["name"]
        assert f"test/drop/{VIEWS[-1]}" in tags["scalars"]
        assert f"test/precision/{VIEWS[0]}" in tags["scalars"]

    def test_same_command_twice_writes_the_same_bytes_whatever_the_workers(self, run):
        first, _ = run("test", "demo", "--data.limit=30")
        second, _ = run("test", "demo", "--data.limit=30", "--data.num_workers=2")
        assert first != second
        assert (first / "images.csv").read_bytes() == (second / "images.csv").read_bytes()

    def test_predict_reports_flips_of_loose_images_without_labels(self, run, photos, tmp_path):
        loose = tmp_path / "loose"
        loose.mkdir()
        for file in photos.rglob("*.png"):
            shutil.copy(file, loose)
        folder, printed = run("predict", "image_folder", f"--data.root={loose}", "--data.class_names=[cat, dog]")
        table, record = pd.read_csv(folder / "images.csv"), read_record(folder)
        assert table["label"].isna().all()
        assert table["prediction"].isin([0, 1]).all()
        assert table["predicted_class"].equals(table["prediction"].map({0: "cat", 1: "dog"}))
        assert table["runner_up_class"].equals(table["prediction"].map({0: "dog", 1: "cat"}))
        assert set(record["metrics"]["jpeg-25"]) == {
            "confidence",
            "flip_rate",
            "encoded_bytes",
            "bits_per_pixel",
            "cosine",
            "encode_ms",
            "decode_ms",
        }
        assert not {"encode_ms", "decode_ms"} & {*table, *record["metrics"]["original"]}
        assert "encode" not in printed
        assert "flips" in printed

    @pytest.mark.parametrize("names", ['["7", "1e3"]', "{cat: '7', dog: '1e3'}"])
    def test_a_class_name_that_is_quoted_remains_a_text(self, run, photos, names):
        folder, _ = run("predict", "image_folder", f"--data.root={photos}", f"--data.class_names={names}")
        assert read_record(folder)["data"]["class_names"] == ["7", "1e3"]
        assert set(read_images(folder / "images.csv")["predicted_class"]) <= {"7", "1e3"}

    def test_a_folder_of_photos_of_different_sizes_ends_in_a_report_that_answers_the_question(
        self, run, photos, tmp_path
    ):
        for number, (width, height) in enumerate([(700, 500), (90, 640)]):
            pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos / "dog" / f"large {number}.png")
        options = [f"--data.root={photos}", "--model.fidelity=true", "--data.num_workers=2"]
        folder, _ = run("test", "image_folder", *options)
        table = pd.read_csv(folder / "images.csv").query("view == 'jpeg-50'").set_index("path")
        with Image.open(photos / "dog" / "large 1.png") as image:
            buffer = BytesIO()
            image.save(buffer, "JPEG", quality=50)
        row = table.loc["dog/large 1.png"]
        assert row["encoded_bytes"] == buffer.getbuffer().nbytes
        assert row["bits_per_pixel"] == pytest.approx(8 * buffer.getbuffer().nbytes / (90 * 640))
        assert table[["psnr", "ssim"]].notna().all(axis=None)
        with pytest.raises(SystemExit, match="None"):  # as the program ends when all went well
            main(["report", str(folder), "--drop", "100", "--output", str(tmp_path / "report")])
        page = (tmp_path / "report" / "report.md").read_text()
        sizes = {
            view: values["encoded_bytes"]
            for view, values in read_record(folder)["metrics"].items()
            if view != "original"
        }
        smallest = min(sizes, key=sizes.get)
        assert "Smallest bytes per image with a drop under 100 points" in page
        assert f"**{smallest}** | {sizes[smallest]:,.0f}" in page

    def test_views_that_are_fitted_in_the_loader_leave_the_table_of_native_ones(self, run, photos, monkeypatch):
        options = [f"--data.root={photos}", "--model.fidelity=true", "--data.batch_size=2"]
        options += ["--data.degradations=[jpeg-50,resize-0.8]", "--trainer.callbacks=callbacks.ResultsWriter"]
        fitted, _ = run("test", "image_folder", *options)
        monkeypatch.setattr(Encoder, "geometry", None)
        native, _ = run("test", "image_folder", *options)
        assert fitted != native
        assert (fitted / "images.csv").read_bytes() == (native / "images.csv").read_bytes()

    def test_a_record_says_where_float32_products_may_be_rounded(self, run):
        folder, _ = run("test", "demo", "--data.limit=9")
        assert "float32_matmul" not in read_record(folder)["model"]
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            folder, _ = run("test", "demo", "--data.limit=9")
        finally:
            torch.set_float32_matmul_precision(before)
        assert read_record(folder)["model"]["float32_matmul"] == "high"

    def test_fidelity_can_be_left_out(self, run):
        folder, _ = run("test", "demo", "--data.limit=20", "--model.fidelity=false")
        assert pd.read_csv(folder / "images.csv")[["psnr", "ssim"]].isna().all(axis=None)
        assert {"psnr", "ssim"}.isdisjoint(read_record(folder)["metrics"]["jpeg-25"])

    def test_bfloat16_on_request(self, run):
        folder, _ = run("test", "demo", "--data.limit=20", "--trainer.precision=bf16-mixed")
        assert read_record(folder)["model"]["precision"] == "bf16-mixed"


class TestMistakes:
    """Each ends in one line that names the value, with status 2, and leaves nothing behind."""

    @pytest.fixture
    def refusal(self, run, tmp_path, capsys):
        def refusal(*arguments, **options):
            before = sorted(tmp_path.rglob("*"))
            with pytest.raises(SystemExit) as caught:
                run(*arguments, pictures=True, **options)
            assert caught.value.code == 2
            errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1
            assert sorted(tmp_path.rglob("*")) == before
            return errors[0]

        return refusal

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--data.degradations=[jpeg-101]"], "JPEG quality 101 is out of range, choose 1 to 100"),
            (["--data.degradations=[jpg-75]"], "unknown degradation 'jpg-75'"),
            (["--data.degradations=[jpeg-75, jpeg-75]"], "'jpeg-75' is listed twice"),
            (["--model.encoder=RN51"], "unknown encoder 'RN51': did you mean RN50"),
            (["--model.pretrained=missing.pt"], "missing.pt"),
            (["--model.templates=[no placeholder]"], "template 'no placeholder'"),
            (["--data.batch_size=0"], "--data.batch_size 0 is out of range"),
            (["--data.batch_size=many"], "--data.batch_size: Expected a <class 'int'>. Got value: many"),
            (["--data.bogus=1"], "Option 'bogus' is not accepted"),
            (["--data.limt=1"], "Option 'limt' is not accepted: did you mean --data.limit?"),
            (["--model.template=x"], "Option 'template' is not accepted: did you mean --model.templates?"),
            (["--confg=demo"], "--confg is no option: did you mean --config?"),
            (["--config=dmo"], "'dmo' is no file and no configuration of this project: did you mean demo?"),
            (["--data.limit=many"], "--data.limit: 'many' is none of integer, null"),
            (["--seed_everything=-1"], "--seed_everything -1 is out of range"),
            (["--seed_everything=" + "9" * 6000], "number of 6,000 characters"),
            (["--data.limit=" + "[" * 100_000], "nested more than 64 levels deep"),
            (["--trainer.limit_test_batches=2"], "--trainer.limit_test_batches 2 counts batches"),
            (["--trainer.limit_test_batches=0"], "use --data.limit"),
            (["--trainer.limit_test_batches=0.5"], "use --data.limit"),
            (["--trainer.fast_dev_run=true"], "--trainer.fast_dev_run True counts batches"),
            (["--trainer.precision=64-true"], "--trainer.precision 64-true changes the type of the weights"),
            (["--trainer.strategy=foo"], "cannot be built: You selected an invalid strategy name"),
            (["--trainer.barebones=true"], "cannot be built: `Trainer(barebones=True, logger="),
            (["--trainer.logger=lightning.pytorch.loggers.CometLogger"], "cannot be built: "),
            (["--model.class_path=bench.Nothing"], "module 'bench' has no attribute 'Nothing'"),
            (["--trainer.precision=bf16-true"], "use bf16-mixed or 16-mixed"),
            (["--trainer.logger=lightning.pytorch.loggers.CSVLogger"], "cannot write to CSVLogger"),
            (["--trainer.bogus=1"], "unrecognized arguments: --trainer.bogus=1"),
            (["--trainer.precison=32-true"], "did you mean --trainer.precision?"),
        ],
    )
    def test_bad_value(self, refusal, options, message):
        assert message in refusal("test", "demo", *options)

    def test_missing_data_root(self, refusal, tmp_path):
        assert "--data.root" in refusal("test", "image_folder", f"--data.root={tmp_path / 'nowhere'}")

    def test_empty_data_root(self, refusal, tmp_path):
        (tmp_path / "empty").mkdir()
        assert "empty" in refusal("test", "image_folder", f"--data.root={tmp_path / 'empty'}")

    def test_class_count_mismatch(self, refusal, photos):
        message = refusal("test", "image_folder", f"--data.root={photos}", "--data.class_names=[cat]")
        assert "lists 1 names" in message

    def test_unlabelled_images_cannot_be_tested(self, refusal, photos):
        message = refusal("test", "image_folder", f"--data.root={photos / 'cat'}", "--data.class_names=[cat, dog]")
        assert "lightning predict" in message

    def test_weights_that_do_not_fit_name_the_first_tensor(self, refusal, tiny_clip, tmp_path_factory):
        from tests.support.checkpoints import RESNET, build, save_safetensors

        weights = save_safetensors(build(RESNET), tmp_path_factory.mktemp("other") / "resnet.safetensors")
        assert "visual" in refusal("test", "demo", f"--model.pretrained={weights}")


class TestUnreadableImages:
    @pytest.fixture
    def damaged(self, photos):
        file = photos / "cat" / "1.png"
        file.write_bytes(file.read_bytes()[:200])
        return photos

    def test_run_stops_naming_the_file(self, run, damaged, tmp_path, capsys):
        with pytest.raises(SystemExit, match="2"):
            run("test", "image_folder", f"--data.root={damaged}")
        assert "error: image cat/1.png cannot be read" in capsys.readouterr().err
        assert not list(tmp_path.rglob("results.json"))

    def test_skipping_lists_them(self, run, damaged):
        folder, printed = run("test", "image_folder", f"--data.root={damaged}", "--data.on_error=skip")
        record = read_record(folder)
        assert record["images"] == 5
        assert [image["path"] for image in record["skipped"]] == ["cat/1.png"]
        assert "1 skipped" in printed


def test_print_config_loads_neither_data_nor_weights(repository, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["test", "--config", str(repository / "configs/cifar10.yaml"), "--model.encoder", "x", "--print_config"])
    assert "encoder: x" in capsys.readouterr().out


def test_evaluation_equals_a_plain_loop_over_open_clip(run):
    """Pillow, open_clip's transform, tokenizer and zero-shot classifier, one image at a time."""
    import open_clip
    from open_clip.transform import image_transform

    from tests.support.checkpoints import VIT, build

    folder, _ = run("test", "demo", "--data.limit=12", "--data.batch_size=7")
    table = pd.read_csv(folder / "images.csv")
    model = build(VIT)
    data = Synthetic(limit=12, num_workers=0, batch_size=1)
    data.setup("test")
    size = VIT["vision_cfg"]["image_size"]
    transform = image_transform(
        size, is_train=False, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD
    )
    tokenizer = open_clip.SimpleTokenizer(context_length=VIT["text_cfg"]["context_length"])
    with torch.no_grad():
        classifier = open_clip.build_zero_shot_classifier(
            model, tokenizer, data.class_names, [lambda name: f"This is an image of a {name}."]
        )
        for batch in data.test_dataloader():
            for view, images in batch.views.items():
                image = Image.fromarray(images[0].permute(1, 2, 0).numpy())
                features = model.encode_image(transform(image)[None], normalize=True)
                probabilities = (model.logit_scale.exp() * features @ classifier).softmax(1)[0]
                row = table[(table["index"] == int(batch.indices)) & (table["view"] == view)].iloc[0]
                assert row["prediction"] == probabilities.argmax().item()
                assert row["probability"] == pytest.approx(probabilities[batch.labels].item(), abs=1e-5)


def test_two_runs_into_one_folder_are_refused(run, tmp_path, capsys):
    options = ["--trainer.logger=false", "--trainer.callbacks=[callbacks.ResultsWriter]", "--data.limit=5"]
    with pytest.raises(FileNotFoundError):  # of this test's own look for the logger's folder
        run("test", "demo", *options)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert {"results.json", "images.csv", "config.yaml"} == {path.name for path in before}
    with pytest.raises(SystemExit, match="2"):
        run("test", "demo", *options)
    assert "of another run: choose another folder with" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in tmp_path.glob("*.*")}
