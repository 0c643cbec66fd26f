"""What the frozen encoder says is asked once: by hand, across a kill, and in a fit that mirrors."""

from contextlib import suppress

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from bench.finetuning import Consistency, RobustFineTuning, WholeTower, kept_targets
from bench.finetuning.kept_targets import KeptTargets
from bench.runs.files import FileError
from datamodules.training import TrainingViews
from tests.support.checkpoints import VIT, build, save_safetensors


class Asked:
    """An encoder of the numbers of a batch that counts."""

    def __init__(self):
        self.calls = []

    def batch(self, rows):
        def embed(places):
            self.calls.append([rows[place] for place in places.tolist()])
            return torch.tensor([[float(rows[place]), 1.0] for place in places.tolist()])

        return rows, embed


@pytest.fixture
def asked():
    return Asked()


def test_each_input_is_embedded_once(asked):
    kept = KeptTargets(10, 2, "a")
    assert kept.get(*asked.batch([3, 5])).tolist() == [[3, 1], [5, 1]]
    assert kept.get(*asked.batch([5, 4, 3])).tolist() == [[5, 1], [4, 1], [3, 1]]
    assert asked.calls == [[3, 5], [4]]


def test_what_is_beyond_the_room_is_asked_again(asked, monkeypatch):
    monkeypatch.setattr(kept_targets, "_MOST_BYTES", 4 * 2 * 4)  # four rows
    kept = KeptTargets(10, 2, "a")
    for _ in range(2):
        assert kept.get(*asked.batch([3, 4])).tolist() == [[3, 1], [4, 1]]
    assert asked.calls == [[3, 4], [4]]


def test_another_process_goes_on_with_what_the_file_was_said_to_hold(asked, tmp_path):
    kept = KeptTargets(10, 2, "a", tmp_path / "targets")
    kept.get(*asked.batch([3]))
    kept.save()
    kept.get(*asked.batch([5]))
    kept = KeptTargets(10, 2, "a", tmp_path / "targets")
    assert kept.get(*asked.batch([3, 0])).tolist() == [[3, 1], [0, 1]]
    assert kept.get(*asked.batch([5])).tolist() == [[5, 1]]
    assert asked.calls == [[3], [5], [0], [5]]


def test_values_are_on_the_disk_before_they_are_said_to_be(asked, tmp_path, monkeypatch):
    kept, order = KeptTargets(10, 2, "a", tmp_path / "targets"), []
    monkeypatch.setattr(kept._values, "flush", lambda: order.append("values"))
    monkeypatch.setattr(kept_targets, "write_atomically", lambda file, content: order.append(file.name))
    kept.save()
    assert order == ["values", "targets.known"]


def held(asked, file):
    """Fill row 3 and say so."""
    kept = KeptTargets(10, 2, "a", file)
    kept.get(*asked.batch([3]))
    kept.save()


def test_a_file_of_another_size_is_begun_anew(asked, tmp_path):
    held(asked, tmp_path / "targets")
    KeptTargets(11, 2, "a", tmp_path / "targets").get(*asked.batch([3]))
    assert asked.calls == [[3], [3]]


@pytest.mark.parametrize("length", [None, 0, 24], ids=["missing", "empty", "truncated"])
def test_values_that_are_gone_are_not_known_though_a_file_says_so(asked, tmp_path, length):
    file = tmp_path / "targets"
    held(asked, file)
    if length is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:length])
    KeptTargets(10, 2, "a", file)  # which ends before it has learnt anything
    assert KeptTargets(10, 2, "a", file).get(*asked.batch([3])).tolist() == [[3, 1]]
    assert asked.calls == [[3], [3]]


@pytest.mark.parametrize("said", [b"a\n" + 9 * b"\1", 10 * b"\1"], ids=["truncated", "earlier version"])
def test_what_is_said_of_other_rows_is_not_believed(asked, tmp_path, said):
    held(asked, tmp_path / "targets")
    (tmp_path / "targets.known").write_bytes(said)
    KeptTargets(10, 2, "a", tmp_path / "targets").get(*asked.batch([3]))
    assert asked.calls == [[3], [3]]


def test_what_a_file_holds_of_another_subject_is_forgotten(asked, tmp_path):
    held(asked, tmp_path / "targets")
    for subject in "ba":
        KeptTargets(10, 2, subject, tmp_path / "targets").get(*asked.batch([3]))
    assert asked.calls == [[3], [3], [3]]


def test_a_link_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "targets").symlink_to(tmp_path / "precious")
    with pytest.raises(FileError, match="not a regular file"):
        KeptTargets(10, 2, "a", tmp_path / "targets")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def watch(module, monkeypatch):
    """How far what a fit is told lies from what its frozen encoder says, by step, once it has run."""
    embed, target, wrong = module.embed, module._target, []

    def compared(batch):
        kept = target(batch)
        wrong.append((kept - embed(module.original, batch.views["original"])).abs().max().item())
        return kept

    monkeypatch.setattr(module, "_target", compared)
    return wrong


@pytest.mark.parametrize("changed", ["encoder", "images", "positions"])
def test_a_fit_in_the_folder_of_another_one_is_told_what_its_own_encoder_says(
    clip, tuning, fit, data, tmp_path, monkeypatch, changed
):
    (tmp_path / "unfinished").mkdir()
    fit(
        tuning("vit", objective=Consistency()),
        callbacks=[ModelCheckpoint(tmp_path / "first")],
        enable_checkpointing=True,
    )
    assert (tmp_path / "unfinished" / "targets-0.known").exists()
    module, source = tuning("vit", objective=Consistency()), data(image_seed=int(changed == "images"))
    if changed == "positions":  # as many
        source = data(indices=range(1, 25))
    if changed == "encoder":
        weights = save_safetensors(build(VIT, seed=1), tmp_path / "other.safetensors")
        module = RobustFineTuning(Consistency(), WholeTower(), clip["vit"]["encoder"], weights)
    wrong = watch(module, monkeypatch)
    fit(module, source, max_epochs=1)
    assert len(wrong) == 2
    assert max(wrong) < 1e-5


def asking(module, monkeypatch):
    """The pixels that a fit asks its frozen encoder about, once it has run."""
    embed, asked = module.embed, []

    def counted(tower, images):
        if tower is module.original:
            asked.extend(image.numpy().tobytes() for image in images)
        return embed(tower, images)

    monkeypatch.setattr(module, "embed", counted)
    return asked


class Kill(Callback):
    """Ends a run after a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # it is what one resumes from
def test_a_fit_that_is_taken_up_asks_what_an_undisturbed_one_asks_after_its_checkpoint(
    tuning, fit, data, tmp_path, monkeypatch
):
    def fitted(*callbacks, **options):
        module, watch = tuning("vit", objective=Consistency()), ModelCheckpoint(tmp_path / "fit", save_last=True)
        asked, views = asking(module, monkeypatch), TrainingViews({"jpeg-{}": [10, 90]}, flip=0.5)
        source, settings = data(training_views=views), {"max_epochs": 3, "enable_checkpointing": True, **options}
        with suppress(SystemExit):
            fit(module, source, callbacks=[*callbacks, watch], **settings)
        return module, asked

    (tmp_path / "unfinished").mkdir()
    _, before = fitted(Kill(3))  # in the second epoch, some of whose answers are in the file
    assert len(before) > 20
    (tmp_path / "killed").mkdir()
    (tmp_path / "unfinished").rename(tmp_path / "killed" / "unfinished")
    resumed, asked = fitted(ckpt_path=tmp_path / "fit" / "last.ckpt", default_root_dir=tmp_path / "killed")
    undisturbed, every = fitted()
    assert asked == every[20:]  # those of the first epoch are known, those of the killed step are not
    expected, found = undisturbed.tuned_state(), resumed.tuned_state()
    assert all(torch.equal(expected[name], found[name]) for name in expected)  # on one machine, no tolerance


@pytest.mark.parametrize("flip", [0.0, 0.5])
def test_room_for_each_training_image_is_enough(tuning, fit, data, monkeypatch, flip):
    module, ways = tuning("vit", objective=Consistency()), 2 if flip else 1
    monkeypatch.setattr(kept_targets, "_MOST_BYTES", 4 * VIT["embed_dim"] * 20 * ways)
    asked, views = asking(module, monkeypatch), TrainingViews({"jpeg-{}": [10, 90]}, flip=flip)
    fit(module, data(indices=range(1000, 1240, 10), training_views=views), max_epochs=12)
    assert len(asked) == 20 * ways  # in twelve epochs each of the twenty is mirrored in some and not in others


def test_a_fit_asks_for_each_image_and_its_mirror_image_once_and_is_told_the_same(tuning, fit, data, monkeypatch):
    module = tuning("vit", objective=Consistency())
    wrong = watch(module, monkeypatch)
    asked = asking(module, monkeypatch)
    fit(module, data(training_views=TrainingViews({"jpeg-{}": [10, 90]}, flip=0.5)), max_epochs=5)
    assert 20 < len(asked) == len(set(asked)) <= 40
    assert len(wrong) == 10
    assert max(wrong) < 1e-5
