"""The pages about data sets and degradations of one's own: their code is run as it stands."""

import json
import subprocess
import sys

import pytest

from tests.support.documents import python_blocks


def run(program, *folders, **environment):
    """What a fresh process prints as JSON in its last line; `folders` are searched for modules."""
    path = [*map(str, folders), *sys.path]
    program = f"import json, sys\nsys.path[:0] = {path}\n{program}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("page", ["data_set", "degradation"])
def test_a_page_is_short_and_its_code_complete(repository, page):
    text = (repository / f"docs/extending/{page}.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    assert len(python_blocks(repository / f"docs/extending/{page}.md")) == 1


def test_the_data_set_of_the_page_is_tested_and_fitted_like_any_other(repository, tmp_path):
    [code] = python_blocks(repository / "docs/extending/data_set.md")
    (tmp_path / "stripes.py").write_text(code)
    program = """
from stripes import Stripes
data = Stripes(degradations=["jpeg-50"], batch_size=30, num_workers=0)
data.setup("test"); data.setup("fit"); data.setup("test")
batches = list(data.test_dataloader())
print(json.dumps([sum(map(len, batches)), list(batches[0].views), data.describe()["name"], data.class_names,
                  batches[0].labels[:4].tolist(), len(data.training_positions)]))
"""
    count, views, name, classes, labels, kept = run(program, tmp_path)
    assert (count, views, name) == (100, ["original", "jpeg-50"], "Stripes")
    assert (classes, labels, kept) == (["lying stripes", "upright stripes"], [0, 1, 0, 1], 900)


@pytest.fixture
def median(repository, tmp_path):
    """A folder with the page's degradation as a module."""
    [code] = python_blocks(repository / "docs/extending/degradation.md")
    (tmp_path / "median.py").write_text(code)
    return tmp_path


def test_the_degradation_of_the_page_is_known_by_name(median):
    program = """
import median, numpy as np
from PIL import Image, ImageFilter
from datamodules.degradations import curves, degrade, parse_all
names = [view.name for view in parse_all(["median-{3,5}+jpeg-50"])]
image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
same = degrade(image, "median-3").image.tobytes() == image.filter(ImageFilter.MedianFilter(3)).tobytes()
print(json.dumps([names, curves(["median-5", "median-3"]), same]))
"""
    names, curves, same = run(program, median)
    assert names == ["original", "median-3+jpeg-50", "median-5+jpeg-50"]
    assert curves == {"median": [[3, "median-3"], [5, "median-5"]]}
    assert same


def test_loader_processes_that_start_afresh_know_it_too(median):
    (median / "program.py").write_text("""
import json
from torch.utils.data import DataLoader

if __name__ == "__main__":
    from datamodules import Synthetic
    from datamodules.degradations import parse_all
    from datamodules.training import RandomPairs, TrainingViews, EpochSampler
    import median

    data = Synthetic(limit=4, num_workers=0)
    data.setup("fit")
    pairs = RandomPairs(data.source("train"), TrainingViews({"median-{}": [3, 3]}), range(4), 0)
    def views(workers):
        loader = DataLoader(pairs, batch_size=2, num_workers=workers, collate_fn=pairs.collate,
                            multiprocessing_context="spawn" if workers else None)
        return [batch.views["random"].tolist() for batch in loader]
    print(json.dumps(views(1) == views(0)))
""")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(median / "program.py")], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["true"], done.stderr


def test_an_installed_package_brings_its_degradation_to_every_process(median):
    information = median / "my_median-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-median\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[datamodules.degradations]\nmedian = median:Median\n")
    program = "from datamodules.degradations import parse; print(json.dumps(parse('median-3').name))"
    assert run(program, median) == "median-3"
    (median / "median.py").write_text("import nowhere")
    broken = """
from datamodules.degradations import parse
from datamodules.errors import UserError
try: parse('median-3')
except UserError as error: print(json.dumps(str(error)))
"""
    assert "'median:Median' cannot be loaded (ModuleNotFoundError: No module named 'nowhere')" in run(broken, median)


def test_degradations_are_imported_without_torch_or_lightning_and_data_sets_when_they_are_used():
    heavy = "json.dumps(sorted({'torch', 'lightning', 'scipy', 'pandas'} & set(sys.modules)))"
    assert run(f"import datamodules, datamodules.degradations\nprint({heavy})") == []
    program = """
import datamodules.degradations
from PIL import Image
datamodules.degradations.degrade(Image.new('RGB', (8, 8)), 'jpeg-75')
"""
    assert run(f"{program}\nprint({heavy})") == []
    assert run("import datamodules\nprint(json.dumps(datamodules.Synthetic().dataset_name))") == "synthetic"
