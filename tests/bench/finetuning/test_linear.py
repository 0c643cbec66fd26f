"""The closed form against scikit-learn, and what it does to a tower."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from sklearn.linear_model import Ridge

from bench.finetuning import LinearCorrection
from bench.finetuning.linear import fold, moments, near_identity
from callbacks import ExponentialAverage
from datamodules.errors import UserError
from tests.support.checkpoints import RESNET, VIT, build
from tests.support.fits import Stop, few

TOWERS = pytest.mark.parametrize("config", [RESNET, VIT], ids=["resnet", "vit"])


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 5, generator=generator) + 1
    return features, features @ torch.randn(5, 5, generator=generator) + torch.randn(40, 5, generator=generator)


@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("ridge", [1e-6, 0.1, 10.0])
def test_the_solution_is_scikit_learns_ridge_of_the_difference(pairs, offset, ridge):
    features, target = pairs
    matrix, constant = near_identity(moments(features, target), ridge, offset=offset)
    x, y = features.double().numpy(), target.double().numpy()
    oracle = Ridge(alpha=ridge * (x**2).sum() / 5, fit_intercept=offset).fit(x, y - x)
    np.testing.assert_allclose(matrix, np.eye(5) + oracle.coef_, atol=1e-8)
    np.testing.assert_allclose(constant, oracle.intercept_ if offset else np.zeros(5), atol=1e-8)


def test_where_nothing_is_degraded_the_correction_is_the_identity(pairs):
    matrix, constant = near_identity(moments(pairs[0], pairs[0]), 0.1, offset=True)
    torch.testing.assert_close(matrix, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(constant, torch.zeros(5, dtype=torch.float64))


def test_moments_add_up_over_batches(pairs):
    whole = moments(*pairs)
    parts = [moments(*(part[rows] for part in pairs)) for rows in (slice(0, 13), slice(13, 40))]
    torch.testing.assert_close(parts[0].second + parts[1].second, whole.second)
    torch.testing.assert_close(parts[0].cross + parts[1].cross, whole.cross)


@TOWERS
def test_a_folded_tower_embeds_what_the_correction_makes_of_the_original_embedding(config):
    original = build(config).visual
    tower = deepcopy(original)
    size, side = config["embed_dim"], config["vision_cfg"]["image_size"]
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(size, size, generator=generator, dtype=torch.float64)
    offset = torch.randn(size, generator=generator, dtype=torch.float64) if config is RESNET else torch.zeros(size)
    fold(tower, original, matrix, offset)
    images = torch.randn(3, 3, side, side, generator=generator)
    with torch.no_grad():
        expected = original(images) @ matrix.float().T + offset.float()
        torch.testing.assert_close(tower(images), expected, rtol=1e-4, atol=1e-4)  # float32 sums in another order


def test_towers_without_a_known_projection_are_refused():
    with pytest.raises(UserError, match="cannot be folded into Linear"):
        fold(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.eye(2), torch.zeros(2))


def test_the_linear_correction_is_the_solution_of_all_sums_in_float64(clip, fit):
    """As if every pair had been embedded at once, in double precision from there on."""
    module, source = LinearCorrection(**clip["vit"], ridge=1e-3, keep=0.5), few(limit=13)
    fit(module, source, max_epochs=1)
    with torch.no_grad():
        batches = list(source.train_dataloader())
        target, degraded = (
            torch.cat([module.embed(module.original, batch.views[view]) for batch in batches])
            for view in ("original", "random")
        )
        sums = moments(degraded, target)
        sums.add(moments(target, target, weight=0.5))
        matrix, _ = near_identity(sums, 1e-3, offset=False)
        expected = module.original.proj.double() @ matrix.T
    assert len(target) == 10
    torch.testing.assert_close(module.tower.proj.detach().double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("average", [ExponentialAverage, WeightAveraging])
def test_a_running_average_which_would_export_the_original_is_refused(clip, fit, average):
    with pytest.raises(UserError, match=f"`callbacks` has {average.__name__}, .* this fit makes none: leave it out"):
        fit(LinearCorrection(**clip["vit"]), few(), callbacks=[average()])


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # it is what one resumes from
def test_a_killed_and_resumed_fit_gives_the_sums_and_weights_of_an_undisturbed_one(clip, fit, tmp_path):
    def fitted(name, *callbacks, **options):
        module, watch = LinearCorrection(**clip["resnet"]), ModelCheckpoint(tmp_path / name, save_last=True)
        return module, lambda: fit(
            module, few(), callbacks=[watch, *callbacks], enable_checkpointing=True, max_epochs=3, **options
        )

    undisturbed, run = fitted("undisturbed")
    run()
    killed, run = fitted("killed", Stop(2))
    with pytest.raises(SystemExit):
        run()
    resumed, run = fitted("killed", ckpt_path=tmp_path / "killed" / "last.ckpt")
    run()
    assert torch.equal(resumed.sums.second, undisturbed.sums.second)
    expected, found = undisturbed.tuned_state(), resumed.tuned_state()
    assert all(torch.equal(expected[name], found[name]) for name in expected)  # on one machine, no tolerance
    assert any(not torch.equal(killed.tuned_state()[name], found[name]) for name in resumed.moving)
    assert (undisturbed.course().epochs, undisturbed.course().steps) == (3, 0)


class LastBatch(Callback):
    """Ends a fit as `max_time` does, after so many batches."""

    def __init__(self, batches):
        self.left = batches

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.left -= 1
        trainer.should_stop = self.left <= 0


@pytest.mark.parametrize("validated", [True, False], ids=["validated", "not"])
@pytest.mark.parametrize("batches", [1, 3], ids=["first", "second"])  # the epoch of two batches in which it ends
def test_images_of_an_epoch_that_time_cuts_short_count(clip, fit, batches, validated):
    module = LinearCorrection(**clip["resnet"])
    options = {} if validated else {"limit_val_batches": 0}
    fit(module, few(), max_epochs=4, callbacks=[LastBatch(batches)], **options)
    assert module.sums.second[-1, -1] == 2 * batches * (1 + module.keep)
    fold(tower := deepcopy(module.original), module.original, *near_identity(module.sums, module.ridge, offset=True))
    assert torch.equal(module.tower.attnpool.c_proj.weight, tower.attnpool.c_proj.weight)


def test_validation_measures_the_solution_of_all_images_so_far(clip, fit, monkeypatch):
    module, counts = LinearCorrection(**clip["resnet"]), []
    validate = module.on_validation_epoch_start
    monkeypatch.setattr(
        module,
        "on_validation_epoch_start",
        lambda: (validate(), counts.append(float(module.sums.second[-1, -1] / (1 + module.keep)))),
    )
    fit(module, few(), max_epochs=2, val_check_interval=0.5)
    assert counts == [2, 4, 6, 8]
