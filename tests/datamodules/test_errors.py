import pickle

from datamodules.errors import UserError


def test_the_command_line_names_options_where_python_names_parameters():
    error = UserError("`every` and `indices` exclude each other", option=("data.every", "data.indices"))
    assert str(error) == "`every` and `indices` exclude each other"
    assert error.on_command_line() == "--data.every and --data.indices exclude each other"


def test_values_are_written_as_each_side_writes_them():
    error = UserError("pass `skip='no'` or `fetch=True`", option=("data.skip", "data.fetch"))
    assert error.on_command_line() == "pass --data.skip no or --data.fetch true"


def test_commands_between_backquotes_and_words_that_are_no_parameters_stay():
    error = UserError("limit: `pip install limit` helps, `limit` does not", option="data.limit")
    assert error.on_command_line() == "limit: `pip install limit` helps, --data.limit does not"


def test_options_survive_the_way_out_of_a_loader_process():
    error = pickle.loads(pickle.dumps(UserError("`limit` 0", option="data.limit")))
    assert error.on_command_line() == "--data.limit 0"
