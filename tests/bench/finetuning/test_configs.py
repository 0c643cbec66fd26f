"""Each configuration of a fit runs from the command line."""

import json
import shlex

import pytest
import yaml

from bench import ZeroShotEvaluation
from bench.cli import main
from bench.clip.encoders import load_encoder
from tests.support.archives import write_cifar10
from tests.support.results import read_record

QUICK = [
    "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=1",
    "--data.num_workers=0", "--data.batch_size=8",
]  # fmt: skip
METHODS = ["augment", "both", "consistency", "distillation", "last_blocks", "linear", "lora", "norms", "tokens"]
COMPANIONS = ["conditioned", "restoration", "restoration_encoder"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*log_every_n_steps"),  # runs of a few steps
]


@pytest.fixture
def lightning(monkeypatch):
    def run(*args):
        monkeypatch.setattr("sys.argv", ["lightning"])
        main(list(args))

    return run


def test_every_method_has_a_configuration_that_is_tested(repository):
    there = sorted(path.stem for path in (repository / "configs" / "finetune").iterdir())
    assert there == sorted([*METHODS, *COMPANIONS, "average"])  # which needs fits: see test_average.py


@pytest.mark.parametrize("method", METHODS)
def test_each_method_tunes_an_encoder_that_the_benchmark_loads(
    repository, tmp_path, monkeypatch, tiny_clip, lightning, method
):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path / "data", count=20)
    configs = repository / "configs"
    images = ["--data.verify_checksums=false", "--data.limit=20"]
    lightning("fit", "--config", f"{configs}/finetune/{method}.yaml", *tiny_clip, *QUICK, *images)
    folder = tmp_path / "runs" / "finetune" / method / "version_0"
    record = json.loads((folder / "finetuning.json").read_text())
    assert record["frozen"]["unchanged"]
    assert {path.name for path in folder.glob("*.safetensors")} == {
        f"{method}.safetensors", f"{method}-0.5.safetensors", f"{method}-0.75.safetensors"
    }  # fmt: skip
    loaded = load_encoder(tiny_clip[1], f"{folder}/{method}.safetensors")
    assert loaded.provenance()["weights_sha256"] == record["exports"][-1]["sha256"]


@pytest.mark.parametrize("method", COMPANIONS)
def test_what_goes_with_a_frozen_encoder_is_exported(repository, tmp_path, monkeypatch, tiny_clip, lightning, method):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path / "data", count=4)
    images = ["--data.verify_checksums=false", "--data.limit=4", "--data.validation_every=4"]
    lightning("fit", "--config", f"{repository}/configs/finetune/{method}.yaml", *tiny_clip, *QUICK, *images)
    folder = tmp_path / "runs" / "finetune" / method / "version_0"
    record = json.loads((folder / "finetuning.json").read_text())
    option = "adapter" if method == "conditioned" else "restoration"
    tested = ZeroShotEvaluation(tiny_clip[1], tiny_clip[3], **{option: str(folder / f"{method}.safetensors")})
    assert getattr(tested, option).said.sha256 == record["exports"][-1]["sha256"]
    assert {path.name for path in folder.glob("*.safetensors")} == {export["file"] for export in record["exports"]}


def test_low_rank_updates_beside_the_adapter_have_its_matrices(repository):
    lora, told = (
        (repository / "configs" / "finetune" / f"{name}.yaml").read_text() for name in ("lora", "conditioned")
    )
    (beside,) = [line.partition("--model.trainable.targets ")[2] for line in lora.splitlines() if "targets '[" in line]
    assert yaml.safe_load(shlex.split(beside)[0]) == yaml.safe_load(told)["model"]["init_args"]["targets"]


def test_the_clean_only_control_is_one_option_away_and_tested_like_any_encoder(
    repository, tmp_path, monkeypatch, tiny_clip, lightning
):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path / "data", count=20)
    control = ["--data.training_views.clean", "1", "--trainer.logger.name", "finetune/augment-control"]
    images = ["--data.verify_checksums=false", "--data.limit=20"]
    lightning("fit", "--config", f"{repository}/configs/finetune/augment.yaml", *tiny_clip, *QUICK, *images, *control)
    folder = tmp_path / "runs" / "finetune" / "augment-control" / "version_0"
    record = json.loads((folder / "finetuning.json").read_text())
    assert record["training"]["views"]["clean"] == 1
    assert record["training"]["views"]["codecs"] == {"jpeg-{}": [10, 95]}

    tuned = ["--model.pretrained", f"{folder}/augment.safetensors", *QUICK[:3], *images, "--data.limit=4"]
    lightning("test", "--config", f"{repository}/configs/cifar10.yaml", *tiny_clip, *tuned)
    model = read_record(tmp_path / "runs" / "cifar10" / "version_0")["model"]
    assert model["weights_sha256"] == record["exports"][-1]["sha256"]


def test_validate_measures_every_view(repository, tmp_path, monkeypatch, tiny_clip, lightning, capsys):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path / "data", count=20)
    images = ["--data.verify_checksums=false", "--data.limit=20", *QUICK[:3], "--data.num_workers=0"]
    lightning("validate", "--config", f"{repository}/configs/finetune/augment.yaml", *tiny_clip, *images)
    printed = capsys.readouterr().out
    for view in ("original", "jpeg-75", "jpeg-50", "jpeg-25"):
        assert f"val/precision/{view}" in printed


def test_a_fit_without_random_views_is_refused_before_anything_is_written(
    repository, tmp_path, monkeypatch, tiny_clip, lightning, capsys
):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path / "data", count=20)
    images = ["--data.verify_checksums=false", "--data.training_views=null"]
    with pytest.raises(SystemExit) as error:
        lightning("fit", "--config", f"{repository}/configs/finetune/augment.yaml", *tiny_clip, *QUICK, *images)
    assert error.value.code == 2
    assert capsys.readouterr().err.startswith("error: --data.training_views is not set")
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_never_outvotes_what_is_typed(repository, tmp_path, monkeypatch, lightning, capsys, tiny_clip):
    monkeypatch.chdir(repository)
    fit = ["fit", "--config", "configs/demo_finetune.yaml", *tiny_clip, *QUICK, "--data.limit=20"]
    lightning(*fit, f"--trainer.logger.save_dir={tmp_path}")
    last = next(tmp_path.glob("**/last.ckpt"))
    again = [*fit, f"--trainer.logger.save_dir={tmp_path}/again", "--trainer.max_epochs=2", f"--ckpt_path={last}"]
    with pytest.raises(SystemExit):
        lightning(*again, "--model.learning_rate=1e-9")
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: --ckpt_path is of a fit with model.learning_rate 0.002, not 1e-09: ask for")


def test_the_demo_runs_as_it_is(repository, tmp_path, monkeypatch, lightning):
    monkeypatch.chdir(repository)  # whose files the configuration names
    short = [*QUICK, "--data.limit=40", f"--trainer.logger.save_dir={tmp_path}"]
    lightning("fit", "--config", "configs/demo_finetune.yaml", *short)
    folder = tmp_path / "demo_finetune" / "version_0"
    assert load_encoder("configs/models/demo-rn.json", f"{folder}/demo-rn-tuned.safetensors").activation == "quickgelu"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_demo_recovers_half_of_the_drop_on_images_it_was_never_tuned_on(
    repository, tmp_path, monkeypatch, lightning
):
    monkeypatch.chdir(repository)
    logs = [f"--trainer.logger.save_dir={tmp_path}", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    lightning("fit", "--config", "configs/demo_finetune.yaml", *logs)
    tuned = f"{tmp_path}/demo_finetune/version_0/demo-rn-tuned.safetensors"
    lightning("test", "--config", "configs/demo.yaml", *logs)
    lightning("test", "--config", "configs/demo.yaml", *logs, "--model.pretrained", tuned)
    before, after = (read_record(tmp_path / "demo" / f"version_{run}")["metrics"] for run in (0, 1))
    clean = before["original"]["precision"]
    for view in ("jpeg-75", "jpeg-50", "jpeg-25"):
        lost = clean - before[view]["precision"]
        assert after[view]["precision"] - before[view]["precision"] >= 0.5 * lost, view
    assert after["original"]["precision"] >= clean - 0.01
