"""The results of a run that Python code starts, without the command line."""

import pytest
from lightning.pytorch import Trainer

from bench import ZeroShotEvaluation
from callbacks import ResultsWriter
from datamodules import Synthetic
from datamodules.errors import UserError


@pytest.mark.parametrize(
    ("options", "command", "message"),
    [
        ({"limit_test_batches": 2}, "test", "`limit_test_batches` 2 counts batches"),
        ({"limit_predict_batches": 0.5}, "predict", "`limit_predict_batches` 0.5 counts batches"),
        ({"fast_dev_run": 1}, "test", "`fast_dev_run` True counts batches"),
    ],
)
def test_a_trainer_that_limits_batches_is_refused_before_anything_is_written(
    tmp_path, tiny_clip, options, command, message
):
    _, encoder, _, weights = tiny_clip
    trainer = Trainer(
        accelerator="cpu", devices=1, logger=False, default_root_dir=tmp_path, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[ResultsWriter()], **options,
    )  # fmt: skip
    with pytest.raises(UserError, match=f"{message}.*use `limit`, which counts images"):
        getattr(trainer, command)(
            ZeroShotEvaluation(encoder=encoder, pretrained=weights), Synthetic(limit=4, num_workers=0)
        )
    assert not list(tmp_path.iterdir())
