"""The page about objectives: short, and its code does what it says."""

import pytest
import torch

from bench.cli import main
from bench.finetuning.objectives import Pairs
from bench.runs.folder import RunFolder
from tests.support.documents import python_blocks

pytestmark = pytest.mark.filterwarnings("ignore:.*log_every_n_steps")  # a fit of a few steps


@pytest.fixture
def page(repository):
    return repository / "docs" / "extending" / "objective.md"


def test_an_objective_takes_a_page_of_thirty_lines(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 30


def test_the_pages_objective_is_worth_what_its_formula_says(page):
    names = {}
    (code,) = python_blocks(page)
    exec(code, names)

    def pairs(degraded):
        return Pairs(
            embed_original=lambda: pytest.fail("not asked for"),
            embed_degraded=lambda: torch.tensor(degraded),
            embed_target=lambda: torch.tensor([[0.0, 3.0], [5.0, 5.0]]),
            classify=lambda features: pytest.fail("not asked for"),
            labels=torch.tensor([0, 1]),
        )

    assert names["Angle"]().loss(pairs([[2.0, 0.0], [1.0, 1.0]])).item() == pytest.approx((1 + 0) / 2)
    assert names["Angle"](power=2.0).loss(pairs([[0.0, -1.0], [1.0, 1.0]])).item() == pytest.approx((2**2 + 0) / 2)


def test_the_pages_objective_is_an_option_of_the_command(page, repository, tmp_path, monkeypatch, tiny_clip):
    (tmp_path / "angle.py").write_text(python_blocks(page)[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(repository)
    (command,) = [line.split() for line in page.read_text(encoding="utf-8").splitlines() if "lightning fit" in line]
    quick = ["--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]
    few = ["--data.num_workers=0", "--data.limit=12", "--data.batch_size=6", f"--trainer.logger.save_dir={tmp_path}"]
    monkeypatch.setattr("sys.argv", ["lightning"])
    main([*command[2:], *tiny_clip, *quick, *few])
    record = RunFolder(tmp_path / "demo_finetune" / "version_0").finetuning_record()
    assert record.method["objective"] == {"name": "Angle", "power": 2.0, "label_free": True}
