"""`lightning tables` on the demo: the file, its card, its pictures, its views; mistakes in one line."""

import json
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

import bench
from bench.cli import main
from bench.tables.measuring import TuningImages
from bench.tables.usage import cjpeg_text, pillow_snippet
from datamodules import Synthetic
from datamodules.degradations import quantisation
from datamodules.degradations.quantisation import Quantisation, read_tables
from datamodules.degradations.tables import written

FEW = ["--images", "6", "--generations", "0", "--scales", "25", "--subsampling", "4:2:0"]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(quantisation, "_loaded", {})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    file = tmp_path_factory.mktemp("tables") / "my tables.json"
    with pytest.raises(SystemExit) as ending:
        main(["tables", "--config", "demo", *FEW, "--output", str(file)])
    assert ending.value.code in (None, 0)
    return file


@pytest.fixture(scope="module")
def encoder():
    return bench.load_encoder("configs/models/demo-rn.json", "configs/models/demo-rn.safetensors")


def test_the_file_has_tables_within_the_bytes_and_a_card(made, encoder):
    tables = read_tables(made)
    card = tables.card
    assert (tables.name, list(tables.scales)) == ("my_tables", [25])
    assert card["encoder"]["weights_sha256"] == encoder.provenance()["weights_sha256"]
    assert card["data"]["name"] == "synthetic/train"
    assert card["settings"]["distortion"] == "prediction"
    assert card["software"]["libjpeg_turbo"]
    account = card["scales"]["25"]
    assert account["tuned"]["tuning"]["encoded_bytes"] <= account["bytes_allowed"]
    assert account["standard"]["tuning"]["encoded_bytes"] == account["bytes_allowed"]
    assert account["tuned"]["held_out"]["distortion"] < account["standard"]["held_out"]["distortion"]
    assert [path.name for path in made.parent.glob(".*")] == []  # no journal is left


def test_the_views_are_tested_like_any_other(made):
    data = Synthetic(tables=str(made), degradations="jpeg-tables-my_tables-25", limit=2, num_workers=0)
    data.setup("test")
    [batch] = data.test_dataloader()
    image = Image.fromarray(batch.views["original"][0].permute(1, 2, 0).numpy())
    size = len(written(image, read_tables(made).at(25)))
    assert int(batch.encoded_bytes["jpeg-tables-my_tables-25"][0]) == size


def test_the_snippet_writes_the_same_file(made, tmp_path, monkeypatch):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    (tmp_path / made.name).write_text(made.read_text())
    snippet = read_tables(made).card["use"]["pillow"]
    assert snippet == pillow_snippet(25, made.name)
    exec(snippet, {"image": image})
    assert (tmp_path / "out.jpg").read_bytes() == written(image, read_tables(made).at(25))


def test_tables_are_drawn_beside_the_standard_ones(made, capsys):
    with pytest.raises(SystemExit):
        main(["tables", "--show", str(made)])
    text = capsys.readouterr().out
    steps = read_tables(made).at(25).luma
    assert " ".join(f"{step:3d}" for step in steps[:8]) + "       32  22  20  32  48  80 102 122" in text
    assert "cjpeg -qtables" in text
    with Image.open(made.with_suffix(".png")) as picture:
        assert picture.width > picture.height > 200


def test_text_for_cjpeg_has_each_table_once():
    two = cjpeg_text(Quantisation(tuple(range(1, 65)), (99,) * 64, "4:4:4"))
    numbers = [int(word) for line in two.splitlines() if not line.startswith("#") for word in line.split()]
    assert numbers == [*range(1, 65), *[99] * 64]
    assert "-qslots 0,1,1 -sample 1x1,1x1,1x1" in two
    assert len([line for line in cjpeg_text(Quantisation((9,) * 64, (9,) * 64)).splitlines() if line[:1] == " "]) == 8


@pytest.mark.parametrize("distortion", ["prediction", "embedding", "loss"])
def test_distortions_are_those_of_the_files_pixels(encoder, distortion):
    data = Synthetic(num_workers=0)
    data.setup("test")
    source = data.source("test")
    images = [source.load(place) for place in range(3)] + [source.load(3).resize((40, 24))]
    labels = [source.label(place) for place in range(4)]
    classifier = bench.ZeroShotClassifier(encoder, source.classes)
    tables = Quantisation((60,) * 64, (60,) * 64)
    measured = TuningImages(classifier, images, labels, distortion, max_batch=2).measure(tables)
    files = [written(image, tables) for image in images]
    expected = []
    for image, file, label in zip(images, files, labels, strict=True):
        pixels = [torch.from_numpy(np.array(one)).permute(2, 0, 1)[None] for one in (image, Image.open(BytesIO(file)))]
        with torch.no_grad():
            before, after = (classifier.embed(one)[0].double() for one in pixels)
            p, q = (classifier.logits(one.float()[None])[0].double().softmax(0) for one in (before, after))
        expected.append(
            {"prediction": (p * (p / q).log()).sum(), "embedding": 1 - before @ after, "loss": -q[label].log()}[
                distortion
            ]
        )
    assert measured.distortion == pytest.approx(float(sum(expected)) / 4, rel=1e-4)
    assert measured.encoded_bytes == sum(map(len, files)) / 4


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "give --config to make tables, or --show FILE"),
        (["--config", "demo", "--show", "x.json"], "give --config to make tables, or --show FILE"),
        (["--show", "x.json"], "file of JPEG tables x.json does not exist"),
        (["--show", "x.json", "--data.limit", "3"], "'--data.limit'"),
        (["--config", "demo", "--scales", "0,50"], "--scales '0,50' is no list"),
        (["--config", "demo", "--name", "a b"], "--name 'a b' cannot be used"),
        (["--config", "demo", "--name", "mozjpeg3"], "--name 'mozjpeg3' cannot be used"),
        (["--config", "demo", "--name", "a" * 41], f"--name '{'a' * 41}' cannot be used: the name"),
        (["--config", "demo", "--output", f"{'a' * 41}.json"], "more than 40 characters"),
        (["--config", "demo", "--images", "1"], "--images 1 is too few"),
        (["--config", "demo", "--images", "x"], "--images: 'x' is no whole number"),
        (["--config", "demo", "--model.compile", "true"], "--model.compile is no option of `lightning tables`"),
        (["--config", "demo", "--model.encoder"], "--model.encoder needs a value"),
        (["--config", "nothing"], "'nothing' is no file and no configuration"),
    ],
)
def test_a_mistake_ends_in_one_line(words, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ending:
        main(["tables", *words])
    assert ending.value.code == 2
    error = capsys.readouterr().err
    assert reason in error
    assert len(error.splitlines()) == 1


@pytest.fixture
def folder(tmp_path):
    """Ten images without labels, the third of which breaks off."""
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:400])
    return tmp_path


def tables_of(folder, *words):
    model = [
        "--model.encoder",
        "configs/models/demo-rn.json",
        "--model.pretrained",
        "configs/models/demo-rn.safetensors",
    ]
    data = ["--data.root", str(folder), "--data.class_names", "[cat, dog]", "--output", str(folder / "t.json")]
    with pytest.raises(SystemExit) as ending:
        main(["tables", "--config", "image_folder", *model, *data, *FEW, *words])
    return ending.value.code


def test_an_unreadable_image_ends_in_one_line(folder, capsys):
    assert tables_of(folder) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: image 2.png cannot be read (OSError: ")
    assert line.endswith("--data.on_error skip")


@pytest.mark.parametrize("images", [4, 6])  # of nine that can be read: another is drawn, or fewer are taken
def test_an_unreadable_image_is_left_out_and_listed(images, folder, capsys):
    assert tables_of(folder, "--data.on_error", "skip", "--images", str(images)) in (None, 0)
    assert "left out: 2.png: OSError: " in capsys.readouterr().out
    card = read_tables(folder / "t.json").card
    assert card["images"] == {"tuning": 4, "held_out": 4}
    assert (card["data"]["images"], card["data"]["unreadable"]) == (4, [2])


def test_too_few_readable_images_are_one_line(folder, capsys):
    for number in range(7):
        (folder / f"{number}.png").write_bytes(b"")
    assert tables_of(folder, "--data.on_error", "skip") == 2
    assert "has 3 readable images here: tables need at least 4" in capsys.readouterr().err


def test_the_loss_needs_labels(folder, capsys):
    (folder / "2.png").unlink()
    assert tables_of(folder, "--distortion", "loss") == 2
    assert "--distortion loss needs labels" in capsys.readouterr().err
    assert not (folder / "t.json").exists()


def test_a_journal_is_for_its_settings_only(tmp_path, capsys):
    (tmp_path / ".t.json.journal").write_text(json.dumps({"subject": "other"}))
    with pytest.raises(SystemExit) as ending:
        main(["tables", "--config", "demo", *FEW, "--output", str(tmp_path / "t.json")])
    assert ending.value.code == 2
    assert "journal of a search with other settings" in capsys.readouterr().err
