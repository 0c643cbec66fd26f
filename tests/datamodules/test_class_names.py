import json
from pathlib import Path

import pytest

from datamodules.class_names import prompt_names, read_class_names
from datamodules.errors import UserError

ROOT = Path("photos")


def refusal(*arguments):
    with pytest.raises(UserError) as caught:
        prompt_names(ROOT, *arguments)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value.on_command_line()


class TestNumbers:
    twelve = sorted(map(str, range(12)))

    def test_a_list_is_refused_where_text_and_numbers_are_sorted_otherwise(self):
        message = refusal(self.twelve, [f"name {number}" for number in range(12)])
        assert message == (
            "--data.class_names is a list, but of the folders in 'photos' '10' comes as text where '2' comes as a "
            "number: give a map such as {'0': 'name 0'}, which says which is which"
        )

    @pytest.mark.parametrize("folders", [["0", "1", "2"], ["01", "02", "10"], ["a1b2", "a1b10x"], ["cat", "dog", "x1"]])
    def test_a_list_is_taken_where_both_orders_are_one(self, folders):
        folders = sorted(folders)
        names = tuple(f"name {folder}" for folder in folders)
        if folders == ["a1b10x", "a1b2"]:
            assert "comes as a number" in refusal(folders, names)
        else:
            assert prompt_names(ROOT, folders, names) == names

    def test_keys_that_yaml_made_numbers_of_find_their_folders(self):
        assert prompt_names(ROOT, ["0", "1", "x"], {0: "airplane"}) == ("airplane", "1", "x")
        assert prompt_names(ROOT, ["001", "002"], {1: "cat", 2: "dog"}) == ("cat", "dog")

    def test_a_number_that_fits_two_folders_or_none_is_refused_with_the_reason(self):
        assert "maps 1, which can be '01' or '1': write it as the folder is" in refusal(["01", "1"], {1: "cat"})
        assert "no such class folder: quote the names of folders, since YAML reads 010 as eight" in refusal(
            ["009", "010"], {8: "cat"}
        )

    def test_a_folder_named_twice_is_refused(self):
        assert "names folder '0' twice" in refusal(["0", "1"], {0: "cat", "0": "dog"})


@pytest.mark.parametrize("key", [False, None, 1.5, True])
def test_keys_that_yaml_made_something_else_of_are_refused_with_the_reason(key):
    message = refusal(["no", "yes", "0", "1"], {key: "cat"})
    assert f"maps {key!r}, but 'photos' has no such class folder: quote the names of folders" in message


@pytest.mark.parametrize("names", [["yes", False], {"a": None}, {"a": 7}])
def test_names_that_yaml_made_something_else_of_are_refused_with_the_reason(names):
    assert "for a name, which is no text: quote it" in refusal(["a", "b"], names)


@pytest.mark.parametrize("stored", ["caf\u00e9", "cafe\u0301"])
@pytest.mark.parametrize("written", ["caf\u00e9", "cafe\u0301"])
def test_accents_match_however_they_are_stored(stored, written):
    assert prompt_names(ROOT, [stored, "dog"], {written: "coffee"}) == ("coffee", "dog")


class TestFiles:
    @pytest.mark.parametrize("content", ["cat\ndog\n", "\ufeffcat\r\n\r\ndog", json.dumps(["cat", "dog"])])
    def test_a_list_comes_from_text_or_json(self, tmp_path, content):
        file = tmp_path / ("names.json" if content.startswith("[") else "names.txt")
        file.write_bytes(content.encode())
        assert prompt_names(ROOT, ["n01", "n02"], file) == ("cat", "dog")
        assert prompt_names(ROOT, ["n01", "n02"], str(file)) == ("cat", "dog")

    def test_a_map_comes_from_json(self, tmp_path):
        (tmp_path / "names.json").write_text('{"n02": "dog"}')
        assert prompt_names(ROOT, ["n01", "n02"], tmp_path / "names.json") == ("n01", "dog")

    @pytest.mark.parametrize(
        ("name", "content", "complaint"),
        [
            ("a.json", b"{", "cannot be read (Expecting"),
            ("a.json", b"[" * 100_000, "cannot be read (maximum recursion"),
            ("a.json", b"7", "holds neither a list nor a map"),
            ("a.json", b"[]", "holds neither a list nor a map"),
            ("a.txt", b"\n \n", "holds neither a list nor a map"),
            ("a.txt", b"caf\xe9", "cannot be read ('utf-8' codec"),
            ("a.txt", b"x" * 5_000_000, "is larger than"),
        ],
    )
    def test_anything_else_is_refused_in_one_line(self, tmp_path, name, content, complaint):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_class_names(tmp_path / name)
        assert complaint in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    def test_a_file_that_is_not_there_or_no_file_is_refused(self, tmp_path):
        for path in (tmp_path, tmp_path / "none.txt", Path("/dev/zero")):
            with pytest.raises(UserError, match="file of class names"):
                read_class_names(path)
