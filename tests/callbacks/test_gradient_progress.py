"""What one sees while gradients are taken."""

from types import SimpleNamespace

from lightning.pytorch.callbacks import TQDMProgressBar

from bench.command_line.screen import ProgressLines
from callbacks.gradient_progress import GradientProgress


def trainer(bar, first=True):
    return SimpleNamespace(progress_bar_callback=bar, is_global_zero=first)


def test_lines_move_with_gradients_while_no_image_is_done(capsys):
    now = iter([0.0, 0.0, 5.0, 12.0, 23.0])
    progress = GradientProgress(trainer(ProgressLines(10, lambda: next(now))), images=12)
    for gradients in (64, 64, 40):
        progress.add_gradients(gradients)
    progress.add_image()
    progress.close()
    assert capsys.readouterr().err.splitlines() == [
        "Integrated Gradients: 128 gradients, 0 of 12 images",
        "Integrated Gradients: 168 gradients, 0 of 12 images",
    ]


def test_bar_counts_gradients_and_images(capsys):
    progress = GradientProgress(trainer(TQDMProgressBar()), images=2)
    progress.add_gradients(64)
    progress.add_image()
    progress.add_gradients(6)
    progress.close()
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("Integrated Gradients: 70 gradients [")
    assert "1 of 2 images" in last


def test_nothing_is_shown_by_other_processes_or_without_a_bar(capsys):
    for silent in (trainer(None), trainer(TQDMProgressBar(), first=False)):
        progress = GradientProgress(silent, images=2)
        progress.add_gradients(64)
        progress.close()
    assert capsys.readouterr().err == ""
