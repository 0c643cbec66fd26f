"""The pages about data sets and degradations of one's own: their code is run as it stands."""

import json
import os
import pickle
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageFilter

from datamodules.degradations import curves, degrade, parse, parse_all, registry
from datamodules.errors import UserError
from datamodules.training import RandomPairs, TrainingViews
from tests.support.documents import python_blocks


@pytest.fixture
def page(repository, monkeypatch):
    """The module that a page's code makes, and forgets what it registers."""
    monkeypatch.setattr(registry, "_registered", {})

    def page(name):
        [code] = python_blocks(repository / f"docs/extending/{name}.md")
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(code, module.__dict__)
        return module

    return page


@pytest.mark.parametrize("name", ["data_set", "degradation"])
def test_a_page_is_short(repository, name):
    assert len((repository / f"docs/extending/{name}.md").read_text(encoding="utf-8").splitlines()) <= 30


def test_the_data_set_of_the_page_is_tested_and_fitted_like_any_other(page):
    data = page("data_set").Stripes(degradations=["jpeg-50"], batch_size=30, num_workers=0)
    data.setup("test")
    batches = list(data.test_dataloader())
    assert sum(map(len, batches)) == 100
    assert list(batches[0].views) == ["original", "jpeg-50"]
    upright, lying = batches[0].views["original"][:2].float()
    assert [data.class_names[label] for label in batches[0].labels[:2]] == ["upright stripes", "lying stripes"]
    assert (upright.std(dim=1).max(), lying.std(dim=2).max()) == (0, 0)
    assert data.describe()["name"] == "Stripes"
    data.setup("fit")
    assert len(data.training_positions) == 900


def test_the_degradation_of_the_page_is_known_by_name_everywhere(page):
    page("degradation")
    names = [view.name for view in parse_all(["median-{3,5}+jpeg-50"])]
    assert names == ["original", "median-3+jpeg-50", "median-5+jpeg-50"]
    assert curves(["median-5", "median-3"]) == {"median": [(3, "median-3"), (5, "median-5")]}
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    assert degrade(image, "median-3").image.tobytes() == image.filter(ImageFilter.MedianFilter(3)).tobytes()
    with pytest.raises(UserError, match="median side 17 is out of range, choose 3 to 15"):
        parse("median-17")


def test_what_is_registered_travels_with_the_images_into_a_fresh_loader_process(page, monkeypatch):
    page("degradation")
    pickled = pickle.dumps(RandomPairs([], TrainingViews({"median-{}": [3, 3]}), [], 0))
    monkeypatch.setattr(registry, "_registered", {})
    with pytest.raises(UserError, match="unknown degradation"):
        parse("median-3")
    pairs = pickle.loads(pickled)
    assert pairs.draws.draw(0, 0, 0)[0].name == "median-3"


class TestFreshProcesses:
    def run(self, program, *folders):
        """What a process prints as JSON in its last line; `folders` are searched for modules."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", f"import json, sys\n{program}"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, folders), *filter(None, sys.path)])},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def test_an_installed_package_brings_its_degradation(self, repository, tmp_path):
        [code] = python_blocks(repository / "docs/extending/degradation.md")
        (tmp_path / "median.py").write_text(code)
        information = tmp_path / "my_median-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-median\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text("[datamodules.degradations]\nmedian = median:Median\n")
        program = """
from datamodules.degradations import parse
from datamodules.errors import UserError
try: print(json.dumps(parse("median-3").name))
except UserError as error: print(json.dumps(str(error)))
"""
        assert self.run(program, tmp_path) == "median-3"
        (tmp_path / "median.py").write_text("import nowhere")
        reason = "'median:Median' cannot be loaded (ModuleNotFoundError: No module named 'nowhere')"
        assert reason in self.run(program, tmp_path)

    def test_degradations_need_neither_torch_nor_lightning(self):
        program = """
import datamodules
from datamodules.degradations import degrade
from PIL import Image
degrade(Image.new("L", (8, 8)), "jpeg-75")
print(json.dumps(sorted({"torch", "lightning", "scipy", "pandas", "matplotlib"} & set(sys.modules))))
"""
        assert self.run(program) == []
