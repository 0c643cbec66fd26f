"""Which figures a run is held against, why others are refused, and how far prompts are known to matter."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.paper import TEMPLATE
from bench.references.comparison import compare, pixels_of, prompt_bar, published_curves
from bench.references.names import NAMES
from bench.references.sources import load
from bench.sweep.grid import read_sweep
from datamodules.degradations import degrade
from datamodules.imagenet import class_names
from datamodules.stl10 import CLASSES
from tests.support import made_up

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LOOSE = {"templates": (TEMPLATE,)}


def first_record(source_name, encoder=None, table=0, /, **changes):
    """A record equal to what a source prints of an encoder, with changes."""
    source = load(source_name)
    row = source.models(encoder)[0] if encoder else source.rows[0]
    return made_up.record_of_figures(source.figures(row, source.tables[table]), **changes)


def compared(name, record):
    return compare(load(name), record.model, record.data, record.images, tuple(record.views))


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_found_for_the_experiment_that_it_is_of_and_no_other(name):
    source, any_record = load(name), first_record("paper")
    names = {"cifar10": CIFAR10, "stl10": CLASSES, "imagenet": tuple(class_names().values()), "cifar100": ("fish",)}
    for table in source.tables:
        data = replace(any_record.data, name=table.data, split=table.splits[-1], class_names=names[table.data])
        for row in source.rows:
            described = {"encoder": row.encoder, "pretrained": row.weights, "activation": row.activation}
            model = replace(any_record.model, **described, templates=table.templates)
            found = compare(source, model, data, table.images, table.views)
            assert (found.refusal, found.caveat) == ("", table.caveat)
            values = [figure.value for figure in source.figures(row, table)]
            assert [found.published[view].value for view in table.views] == values


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("paper", {"name": "synthetic"}, "the paper has no such data set and split"),
        ("paper", {"split": "val"}, "the paper has no such data set and split"),
        ("paper", {"model": {"encoder": "ViT-H-14"}}, "the paper has no such encoder"),
        ("paper", {"model": {"pretrained": "laion2b"}}, "weights laion2b, the paper has openai"),
        ("paper", {"lossy_source_formats": ("JPEG",)}, "the source images are compressed already"),
        ("paper", {"model": {"templates": ("{}",)}}, f'the prompt "{{}}", the paper has the prompt "{TEMPLATE}"'),
        ("paper", {"model": {"further": {"mean": [0.0, 0.0, 0.0]}}}, "the pixels were not normalised"),
        ("openclip", {"model": {"templates": ("{}",)}}, 'the prompt "{}", open_clip\'s results has 18 prompts'),
        ("openclip", {"class_names": CIFAR10[::-1]}, "the class names are not those of open_clip's results"),
    ],
)
def test_another_experiment_is_refused_with_the_reason(name, changes, reason):
    names = {} if name == "paper" else {"class_names": CIFAR10}
    assert compared(name, first_record(name, "RN50", **(names | changes))).refusal == reason


def test_another_number_of_images_is_refused():
    record = replace(first_record("paper"), images=1000)
    assert compared("paper", record).refusal == "1000 images, the paper has 10000"
    assert compared("openclip", record).refusal == "1000 images, open_clip's results has 10000"


def test_views_that_a_source_has_not_are_left_alone():
    record = first_record("paper", "RN50")
    found = compare(load("paper"), record.model, record.data, record.images, ("original", "webp-50"))
    assert list(found.published) == ["original"]
    assert compare(load("paper"), record.model, record.data, record.images, ("webp-50",)).refusal == (
        "the paper has none of these views"
    )


def test_a_folder_of_images_is_known_by_its_name():
    """ImageNet's own images are JPEGs, which is no reason against a source that has the same."""
    record = first_record(
        "openclip", "RN50", 3,
        name="image_folder", split="val", further={"root": "ImageNet"}, lossy_source_formats=("JPEG",),
    )  # fmt: skip
    assert compared("openclip", record).refusal == "the class names are not those of open_clip's results"
    elsewhere = replace(record, data=replace(record.data, further={"root": "photos"}))
    assert compared("openclip", elsewhere).refusal == "open_clip's results has no such data set and split"


def test_the_papers_prompt_is_compared_with_the_suites_as_another_experiment_within_a_known_bar():
    found = compared("openclip", first_record("openclip", "RN50x16", class_names=CIFAR10, model=LOOSE))
    assert found.caveat == f'the prompt "{TEMPLATE}" instead of 18 prompts'
    assert found.published["original"].value == 0.8134
    assert (found.bar.low, found.bar.high, found.bar.pairs) == pytest.approx((-0.0269, 0.0, 9))  # RN50x4, ViT-L-14-336


def test_the_bar_is_the_papers_figures_minus_the_suites():
    """STL-10 by hand from both: RN50, RN101, RN50x4, RN50x16, RN50x64, ViT-B-32, ViT-B-16, ViT-L-14, ViT-L-14-336."""
    paper = [0.9479, 0.9624, 0.9623, 0.9755, 0.9851, 0.9719, 0.9832, 0.9924, 0.9925]
    suite = [0.9419, 0.968, 0.9658, 0.9775, 0.9829, 0.9713, 0.9825, 0.9936, 0.9943]
    differences = [one - other for one, other in zip(paper, suite, strict=True)]
    source = load("openclip")
    bar = prompt_bar(source, source.tables[1])
    assert (bar.low, bar.high, bar.pairs) == pytest.approx((min(differences), max(differences), 9))
    assert prompt_bar(source, source.tables[2]) is None  # the paper has no CIFAR-100


def test_every_cell_of_the_openclip_sweep_is_the_same_experiment(repository, monkeypatch):
    monkeypatch.chdir(repository)
    cells = read_sweep(repository / "configs/openclip.yaml", None, {})
    assert len(cells) == 12
    for cell in cells:
        config = yaml.safe_load(Path(cell.config).read_text())
        table = ["cifar10", "stl10"].index(cell.labels["data"])
        assert config["data"]["init_args"]["split"] == "test"
        options = {name.removeprefix("model."): value for name, value in cell.options.items()}
        options["activation"] = "quickgelu" if cell.labels["encoder"] in ("openai", "metaclip") else "gelu"
        record = first_record(
            "openclip", "RN50", table, class_names=(CIFAR10, CLASSES)[table],
            model={**options, "templates": tuple(options["templates"])},
        )  # fmt: skip
        found = compared("openclip", record)
        assert (found.refusal, found.caveat, list(found.published)) == ("", "", ["original"])


def test_of_two_activations_the_runs_own_is_chosen():
    for activation, value in (("quickgelu", 0.9074), ("gelu", 0.884)):
        record = first_record("openclip", "RN50", class_names=CIFAR10, model={
            "encoder": "ViT-B-32", "pretrained": "laion400m_e32", "activation": activation})  # fmt: skip
        assert compared("openclip", record).published["original"].value == value


def test_curves_are_by_source_and_view_and_empty_where_nothing_is_printed():
    assert published_curves("ViT-L/14@336px", "openai", "stl10", "test") == {
        "paper": {"original": 0.9925, "jpeg-75": 0.9874, "jpeg-50": 0.9765, "jpeg-25": 0.9487},
        "openclip": {"original": 0.9943},
    }
    assert published_curves("RN50", "openai", "cifar10", "train").keys() == {"paper"}
    assert published_curves("ViT-B-32", "laion400m_e32", "cifar10", "test") == {"openclip": {"original": 0.9074}}
    assert published_curves("demo-rn", "demo-rn.safetensors", "synthetic", "test") == {}


@pytest.mark.parametrize(
    ("view", "other"),
    [
        ("cifar10c-jpeg-3", "jpeg-58"),
        ("imagenetc-jpeg-5", "jpeg-7"),
        ("jpeg-75-420-progressive", "jpeg-75-optimise"),
        ("resize-24+crop-16+imagenetc-jpeg-1+jpeg-85-optimise", "resize-24+crop-16+jpeg-25-420+jpeg-85"),
    ],
)
def test_views_of_equal_pixels_have_one_name_and_equal_pixels(view, other):
    from PIL import Image

    image = Image.effect_mandelbrot((40, 32), (-2, -1, 1, 1), 50)
    assert pixels_of(view) == pixels_of(other)
    assert degrade(image, view).image == degrade(image, other).image


def test_views_of_other_pixels_and_names_that_are_no_views_keep_apart():
    names = ("jpeg-75", "jpeg-75-444", "jpeg-75-x2", "webp-75", "imagenetc-jpeg-1", "no such view")
    assert len(set(map(pixels_of, names))) == len(names)
