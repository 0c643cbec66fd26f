from types import SimpleNamespace

import torch

from bench.clip import run_classifier
from bench.clip.run_classifier import PromptProgress, classifier_of_the_run
from bench.command_line.screen import ProgressLines


def trainer(bar=None, first=True):
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(progress_bar_callback=bar, is_global_zero=first, strategy=strategy)


def test_the_first_process_makes_the_classifier_on_the_runs_device_for_all(monkeypatch):
    moved, made, sent = [], [], []
    encoder = SimpleNamespace(model=SimpleNamespace(to=moved.append))
    monkeypatch.setattr(run_classifier, "kept_text_classifier", lambda *given: made.append(given[1]) or torch.eye(2))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)

    def broadcast(values):
        sent.append(values[0])
        values[0] = torch.eye(2)

    monkeypatch.setattr(torch.distributed, "broadcast_object_list", broadcast)
    for rank in (0, 1):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        text = classifier_of_the_run(trainer(first=rank == 0), encoder, ["a", "b"], ["{}"])
        assert torch.equal(text, torch.eye(2))
    assert made == [["a", "b"]]
    assert [type(value) for value in sent] == [torch.Tensor, type(None)]
    assert moved == [torch.device("cpu")] * 2


def test_progress_is_lines_where_the_runs_is(capsys):
    now = [0.0]
    lines = ProgressLines(10, lambda: now[0])
    progress = PromptProgress(trainer(lines))
    for seconds, done in ((4, 100), (11, 250), (30, 400)):
        now[0] = seconds
        progress(done, 400)
    assert capsys.readouterr().err.splitlines() == [
        "Text classifier: 250 of 400 prompts", "Text classifier: 400 of 400 prompts",
    ]  # fmt: skip


def test_a_bar_waits_some_seconds_and_others_than_the_first_process_are_silent(capsys):
    for bar, first in ((object(), True), (object(), False), (None, True)):
        progress = PromptProgress(trainer(bar, first))
        progress(1, 2)
        progress(2, 2)
    assert capsys.readouterr().err == ""
