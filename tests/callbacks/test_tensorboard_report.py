"""What TensorBoardReport leaves out."""

from types import SimpleNamespace

import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench.outcomes import Outcomes
from callbacks import TensorBoardReport


def test_an_empty_gallery_says_nothing_of_predictions_that_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(TensorBoardReport, "_write_text", lambda *given: None)
    unlabelled, rows = torch.full((2,), -1), torch.arange(2)
    outcomes = {
        "original": Outcomes.from_logits(torch.eye(2), unlabelled, rows),
        "jpeg-5": Outcomes.from_logits(-torch.eye(2), unlabelled, rows),
    }
    described = dict.fromkeys(("encoder", "pretrained", "weights_sha256", "precision", "name", "split"), "x")
    module = SimpleNamespace(
        whole_run=lambda: SimpleNamespace(outcomes=outcomes),
        measured=dict.fromkeys(outcomes, SimpleNamespace(metrics={"flip_rate": 1.0}, flipped=2)),
        data=SimpleNamespace(
            labelled=False,
            class_names=("cat", "dog"),
            describe=lambda: described,
            views_of=lambda indices, views: SimpleNamespace(samples=list),
        ),
        describe=lambda: {**described, "templates": ["{}"]},
    )
    logger = TensorBoardLogger(tmp_path)
    TensorBoardReport(gallery=0).finish(SimpleNamespace(loggers=[logger]), module)
    logger.finalize("success")
    tags = EventAccumulator(logger.log_dir).Reload().Tags()
    assert "test/flip_rate/jpeg-5" in tags["scalars"]
    assert tags["images"] == []
