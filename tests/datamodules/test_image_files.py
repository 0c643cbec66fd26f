"""Names of files in little memory."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.image_files import FileNames

names = st.lists(st.binary(min_size=1, max_size=12).map(os.fsdecode), max_size=20)


@given(names, names)
def test_names_are_a_sequence_of_what_the_system_has_whatever_the_bytes(first, second):
    whole = FileNames.joined([FileNames(first), FileNames(second)])
    expected = [*first, *second]
    assert list(whole) == expected
    assert [whole[index] for index in range(-len(expected), len(expected))] == expected * 2
    assert whole[1:4] == expected[1:4]


def test_more_names_than_are_read_at_once_come_in_order():
    expected = [f"cat/{number}.png" for number in range(9000)] + ["dög/1.png"]
    assert list(FileNames(expected)) == expected


def test_a_place_outside_is_no_name():
    with pytest.raises(IndexError, match="3 is none of 3 names"):
        FileNames(["a", "b", "c"])[3]
