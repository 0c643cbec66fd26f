from types import SimpleNamespace

import pytest

from callbacks import outcome_callback
from callbacks.outcome_callback import OutcomeCallback, require_shared
from datamodules.errors import UserError


def trainer(first):
    """Stands for one whose first process does something before it is where the others wait."""
    return SimpleNamespace(strategy=SimpleNamespace(barrier=first, reduce_boolean_decision=bool))


def test_a_process_waits_for_the_first_one_to_make_the_folder(tmp_path):
    folder = tmp_path / "run"
    require_shared(trainer(folder.mkdir), folder)
    with pytest.raises(UserError, match=r"not every process sees .*other"):
        require_shared(trainer(lambda: None), tmp_path / "other")


@pytest.mark.parametrize("end", ["on_test_end", "on_predict_end"])
def test_a_run_of_which_no_image_could_be_read_is_one_line_whichever_callback_comes_first(monkeypatch, end):
    monkeypatch.setattr(outcome_callback, "evaluation", lambda module: module)
    finished = []
    monkeypatch.setattr(OutcomeCallback, "finish", lambda *_: finished.append(True))
    for rows in ([], [1]):
        run = SimpleNamespace(outcomes={"original": rows}, skipped=["one", "two"])
        module = SimpleNamespace(whole_run=lambda run=run: run)
        if rows:
            getattr(OutcomeCallback(), end)(None, module)
        else:
            with pytest.raises(UserError, match="none of the 2 images could be read: check the data root"):
                getattr(OutcomeCallback(), end)(None, module)
    assert finished == [True]
