"""The whole CIFAR-10 test split with the stand-in checkpoint, against a plain loop."""

import json
import subprocess
import sys

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from bench.cli import main
from bench.runs.table import screen_table
from datamodules.degradations import DEFAULT_DEGRADATIONS, parse
from tests.support.results import read_record
from tests.support.scores import score_by_brute_force

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
BATCH = 250


@pytest.fixture(scope="module")
def cifar10(shared, tmp_path_factory):
    """The real images in torchvision's layout."""
    folder = tmp_path_factory.mktemp("cifar10")
    command = [sys.executable, shared / "cifar10/expand.py", folder, "--layout", "torchvision"]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def evaluate(shared, repository, cifar10, tmp_path_factory):
    """Evaluates the stand-in; gives the run's folder."""

    def evaluate(*options):
        folder = tmp_path_factory.mktemp("run")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["lightning"])
            main(
                [
                    *("test", "--config", str(repository / "configs/cifar10.yaml")),
                    f"--model.encoder={shared / 'standin/tiny-rn-64.json'}",
                    f"--model.pretrained={shared / 'standin/tiny-rn-64.safetensors'}",
                    *(f"--data.root={cifar10}", "--data.download=false", "--data.verify_checksums=false"),
                    *("--trainer.accelerator=cpu", "--trainer.devices=1", f"--trainer.logger.save_dir={folder}"),
                    *("--trainer.enable_progress_bar=false", f"--data.batch_size={BATCH}", *options),
                ]
            )
        [run] = (folder / "cifar10").iterdir()
        return run

    return evaluate


@pytest.fixture(scope="module")
def run(evaluate):
    return evaluate()


def plain_loop(shared, cifar10):
    """Predictions and probabilities of the true class by view, by Pillow and open_clip alone."""
    config = json.loads((shared / "standin/tiny-rn-64.json").read_text())
    model = open_clip.CLIP(**config).eval()
    weights = load_file(shared / "standin/tiny-rn-64.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    transform = image_transform(config["vision_cfg"]["image_size"], is_train=False, mean=mean, std=std)
    batch = np.load(cifar10 / "cifar-10-batches-py/test_batch", allow_pickle=True)
    names = np.load(cifar10 / "cifar-10-batches-py/batches.meta", allow_pickle=True)["label_names"]
    labels = torch.tensor(batch["labels"])
    tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    outcomes = {}
    with torch.inference_mode():
        template = "This is an image of a {}."
        classifier = open_clip.build_zero_shot_classifier(model, tokenizer, names, [template.format])
        for view in DEFAULT_DEGRADATIONS:
            probabilities = []
            for pixels in np.split(batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), len(labels) // BATCH):
                images = torch.stack([transform(parse(view)(Image.fromarray(image)).image) for image in pixels])
                features = model.encode_image(images, normalize=True)
                probabilities.append((model.logit_scale.exp() * features @ classifier).softmax(1))
            scores = torch.cat(probabilities)
            outcomes[view] = scores.argmax(1).numpy(), scores.gather(1, labels[:, None])[:, 0].numpy()
    return outcomes


def test_predictions_equal_a_plain_loop_over_pillow_and_open_clip(run, shared, cifar10):
    table, record = pd.read_csv(run / "images.csv"), read_record(run)
    print(screen_table(record))
    for view, (predictions, probabilities) in plain_loop(shared, cifar10).items():
        rows = table[table["view"] == view]
        assert rows["index"].tolist() == list(range(10_000))
        np.testing.assert_array_equal(rows["prediction"], predictions)
        difference = np.abs(rows["probability"] - probabilities).max()
        print(f"{view}: 10,000 predictions equal, probabilities within {difference:.1e}")
        assert difference < 1e-4
        accuracy = accuracy_score(rows["label"], rows["prediction"])
        assert record["metrics"][view]["precision"] == pytest.approx(accuracy, abs=1e-7)


def test_second_run_writes_a_byte_identical_table(run, evaluate):
    assert (run / "images.csv").read_bytes() == (evaluate("--data.num_workers=1") / "images.csv").read_bytes()


def test_every_statistic_of_the_report_equals_that_of_scipy_and_statsmodels(run, tmp_path):
    main_with(["report", str(run), "--output", str(tmp_path / "report")])
    cells = pd.read_csv(tmp_path / "report/tables/cells.csv").set_index("view")
    images = pd.read_csv(run / "images.csv")
    right = images.assign(right=images["prediction"] == images["label"]).pivot(index="index", columns="view")["right"]
    n, p_values = len(right), []
    for view in cells.index:
        cell = cells.loc[view]
        assert cell["precision"] == pytest.approx(right[view].mean(), abs=1e-12)
        low, high = binomtest(int(right[view].sum()), n).proportion_ci(method="wilson")
        assert [cell["precision_low"], cell["precision_high"]] == pytest.approx([low, high], abs=1e-12)
        if view == "original":
            continue
        drops = right["original"].astype(int) - right[view].astype(int)
        assert cell["drop_points"] == pytest.approx(100 * drops.mean(), abs=1e-10)
        changed = int((drops == 1).sum()), int((drops == -1).sum()), n
        for end, sign in (("low", 1), ("high", -1)):
            score = score_by_brute_force(*changed, cell[f"drop_points_{end}"] / 100)
            assert score == pytest.approx(sign * 1.959964, abs=1e-3)
        table = pd.crosstab(right["original"], right[view])
        p_values.append(mcnemar(table, exact=True).pvalue)
        np.testing.assert_allclose(cell["mcnemar_p"], p_values[-1], rtol=1e-9)
    adjusted = cells["mcnemar_p_holm"].dropna()
    np.testing.assert_allclose(adjusted, multipletests(p_values, method="holm")[1], rtol=1e-9)


def main_with(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert not caught.value.code
