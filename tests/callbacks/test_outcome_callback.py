from types import SimpleNamespace

import pytest

from callbacks.outcome_callback import require_shared
from datamodules.errors import UserError


def trainer(first):
    """Stands for one whose first process does something before it is where the others wait."""
    return SimpleNamespace(strategy=SimpleNamespace(barrier=first, reduce_boolean_decision=bool))


def test_a_process_waits_for_the_first_one_to_make_the_folder(tmp_path):
    folder = tmp_path / "run"
    require_shared(trainer(folder.mkdir), folder)
    with pytest.raises(UserError, match=r"not every process sees .*other"):
        require_shared(trainer(lambda: None), tmp_path / "other")
