"""The configuration that is kept beside the results of a run."""

from types import SimpleNamespace

from bench.command_line.program import SaveConfig


def test_a_node_that_does_not_see_the_first_ones_disk_takes_its_word_on_overwriting(tmp_path):
    first = SimpleNamespace(broadcast=lambda own: True)
    trainer = SimpleNamespace(log_dir=str(tmp_path), is_global_zero=False, strategy=first)
    keeper = SaveConfig(parser=None, config=None)
    keeper.setup(trainer, None, "fit")  # would ask the first node, which asks nothing
    assert keeper.overwrite
