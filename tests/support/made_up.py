"""Made-up runs: result files and per-image tables of known counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.paper import ENCODERS, TEMPLATE
from bench.references.sources import load
from bench.runs.finetuning_record import Export, FineTuningRecord, Training, TrainingViews
from bench.runs.folder import RunFolder
from bench.runs.provenance import DataRecord, ModelRecord, SoftwareRecord
from bench.runs.record import RunInfo, RunRecord
from bench.runs.view_record import ClassCounts, Confusion, ViewRecord

CLASSES = 10


def nested(correct, images):
    """Predictions of images labelled 0, 1, ..., 9, 0, ...: the first `correct` are right, the rest one off."""
    labels = np.arange(images) % CLASSES
    return {
        view: np.where(np.arange(images) < count, labels, (labels + 1) % CLASSES) for view, count in correct.items()
    }


def view_records(predictions, labels):
    """What `bench.metrics.measure` would say, computed with NumPy."""
    original = predictions["original"]
    found = {}
    for view, prediction in predictions.items():
        now, before = prediction == labels, original == labels
        metrics = {"precision": float(now.mean()), "loss": 0.5}
        if view != "original":
            metrics |= {
                "broken": float((before & ~now).mean()),
                "repaired": float((~before & now).mean()),
                "drop": float(before.mean() - now.mean()),
                "flip_rate": float((prediction != original).mean()),
                "loss_increase": 0.25,
            }
        found[view] = ViewRecord(
            metrics,
            flipped=int((prediction != original).sum()),
            broken=int((before & ~now).sum()),
            repaired=int((~before & now).sum()),
            classes=ClassCounts(
                correct=tuple(np.bincount(labels[now], minlength=CLASSES).tolist()),
                predicted=tuple(np.bincount(prediction, minlength=CLASSES).tolist()),
                confusions=_confusions(original, prediction, labels),
            ),
        )
    return found


def _confusions(original, prediction, labels):
    pairs = [(true, wrong) for true in range(CLASSES) for wrong in range(CLASSES) if true != wrong]
    counts = [
        tuple(int(((labels == true) & (found == wrong)).sum()) for found in (original, prediction))
        for true, wrong in pairs
    ]
    grown = [(*pair, *count) for pair, count in zip(pairs, counts, strict=True) if count[1] > count[0]]
    return tuple(Confusion(*numbers) for numbers in sorted(grown, key=lambda one: one[2] - one[3])[:10])


def run_record(predictions, *, encoder="RN50", data="cifar10", split="test", model=None, sizes=None, **changes):
    """A record of images labelled 0, 1, ..., 9, 0, ...

    `changes` go into its `data` part and `model` into its model's, by attribute or as further keys; `sizes` is what the
    images of 32 x 32 pixels weigh, bytes by view, for all images or image by image.
    """
    images = len(predictions["original"])
    labels = np.arange(images) % CLASSES
    views = view_records(predictions, labels)
    for view, size in (sizes or {}).items():
        mean = float(np.mean(size))
        weights = {"encoded_bytes": mean, "bits_per_pixel": 8 * mean / 1024}
        views[view] = replace(views[view], metrics={**views[view].metrics, **weights})
    described = {
        "name": data,
        "split": split,
        "images_in_split": images,
        "images_selected": images,
        "every": 1,
        "views": list(predictions),
        "class_names": [f"class {c}" for c in range(CLASSES)],
        "content": f"sha256:{data}-{split}",
        **changes,
    }
    made = {
        "encoder": encoder,
        "pretrained": "openai",
        "weights_sha256": f"hash of {encoder}",
        "templates": [TEMPLATE],
        "precision": "32-true",
        **(model or {}),
    }
    return RunRecord(
        images=images,
        views=views,
        class_images=tuple(np.bincount(labels, minlength=CLASSES).tolist()),
        model=ModelRecord.of(made),
        data=DataRecord.of(described),
        software=SoftwareRecord(packages={"torch": "2", "pillow": "11"}, libjpeg_turbo="3.0", git_commit="0" * 40),
        run=RunInfo("test"),
    )


def fit_record(**changes):
    """A record of a fit on 18 of 20 images, in which nothing was learnt."""
    run = run_record(nested({"original": 20}, 20))
    measures = {"original": {"precision": 0.5}}
    return FineTuningRecord(
        **{
            "name": "encoder",
            "method": {"objective": {"name": "Augment", "label_free": False}, "trainable": {"name": "WholeTower"}},
            "original": run.model,
            "templates": (TEMPLATE,),
            "training": Training(TrainingViews({"jpeg-{}": (10, 95)}, "Uniform", 0.0, 0.0), 1, 3, 8, 1, "32-true"),
            "data": run.data,
            "images_per_class": {name: 1 for name in run.data.class_names},
            "validation_images": 2,
            "seed": 0,
            "seed_everything": "0",
            "frozen_sha256": "0" * 64,
            "interpolation": {0.0: measures, 1.0: measures},
            "exports": (Export(1.0, True, "encoder.safetensors", "0" * 64),),
            "software": run.software,
            "run": RunInfo("fit", seconds=2.0),
            **changes,
        }
    )


def write_run(folder: Path, record, predictions=None, sizes=None) -> Path:
    """Write a result file, a `RunRecord` or any text, and with predictions a per-image table; `sizes` as above."""
    folder.mkdir(parents=True)
    if isinstance(record, str):
        RunFolder(folder).results.write_text(record)
    else:
        record.write(folder)
    if predictions is not None:
        _write_table(RunFolder(folder).table, predictions, sizes)
    return RunFolder(folder).results


def _write_table(file, predictions, sizes):
    views = list(predictions)
    lines = ["index,path,label,view,prediction,probability,confidence,loss,rank,encoded_bytes,bits_per_pixel"]
    columns = zip(*(predictions[view].tolist() for view in views), strict=True)
    weights = {view: np.broadcast_to(size, len(predictions[view])) for view, size in (sizes or {}).items()}
    for index, row in enumerate(columns):
        for view, prediction in zip(views, row, strict=True):
            size = f"{weights[view][index]},{8 * weights[view][index] / 1024}" if view in weights else ","
            lines.append(f"{index},,{index % CLASSES},{view},{prediction},0.5,0.5,0.5,0,{size}")
    file.write_text("\n".join(lines) + "\n")


def paper_counts(data, split, encoder):
    """Correct images by view of one row of the paper, as whole numbers."""
    paper = load("paper")
    (row,) = paper.models(encoder)
    (table,) = (table for table in paper.tables if (table.data, table.splits) == (data, (split,)))
    return {one.view: round(one.value * table.images) for one in paper.figures(row, table)}, table.images


def write_paper(folder: Path, *, change=None) -> None:
    """All 36 runs of the paper; `change(data, split, encoder, counts)` may alter the counts of a run."""
    for table in load("paper").tables:
        (split,) = table.splits
        for encoder in ENCODERS:
            counts, images = paper_counts(table.data, split, encoder)
            if change:
                counts = change(table.data, split, encoder, counts)
            content = run_record(nested(counts, images), encoder=encoder, data=table.data, split=split)
            write_run(folder / f"{table.data}-{split}-{encoder}", content)


def record_of_figures(figures, change=None, model=None, **data):
    """A record of which each view's precision is a published figure, to the nearest image; images are of ten classes.

    Args:
        figures: Of one source, model and table.
        change: Images to add to the correct ones, by view.
        model: Attributes of its model in place of what the figures say.
        data: Attributes of its data in place of what the figures say.
    """
    first = figures[0]
    counts = {one.view: round(one.value * one.images) + (change or {}).get(one.view, 0) for one in figures}
    counts = {"original": counts.get("original", first.images // 2), **counts}
    base = run_record({"original": np.zeros(1, int)}, encoder=first.encoder, data=first.data, split=first.split)
    said = {"pretrained": first.weights, "activation": first.activation, "templates": first.templates}
    said["weights_sha256"] = f"hash of {first.encoder} {first.weights} {first.activation}"
    return replace(
        base,
        images=first.images,
        views={view: _counted(correct, counts["original"], first.images) for view, correct in counts.items()},
        model=replace(base.model, **(said | (model or {}))),
        data=replace(base.data, **({"views": tuple(counts), "images_in_split": first.images} | data)),
        class_images=(first.images // CLASSES,) * CLASSES,
    )


def _counted(correct, before, images):
    """What a record says about a view with so many correct images, evenly over the classes."""
    right = [correct // CLASSES + (place < correct % CLASSES) for place in range(CLASSES)]
    predicted = [right[0] + images - correct, *right[1:]]
    broken, repaired = max(before - correct, 0), max(correct - before, 0)
    classes = ClassCounts(tuple(right), tuple(predicted))
    return ViewRecord({"precision": correct / images}, broken + repaired, broken, repaired, classes)
