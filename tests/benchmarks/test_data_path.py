"""The benchmark of the data path runs; what it measures is left to whoever looks at a quiet machine."""

import re

import torch

from benchmarks.data_path import main


def test_a_row_for_each_kind_of_image(capsys):
    threads = torch.get_num_threads()
    try:
        main(["--batch_size=8", "--repetitions=1", "--size=250x240"])
    finally:
        torch.set_num_threads(threads)
    rows = re.findall(r"^(\w+) +(\d+x\d+) +\d+ +([\d.]+) \(", capsys.readouterr().out, flags=re.MULTILINE)
    assert [(name, size) for name, size, _ in rows] == [
        ("thumbnails", "32x32"),
        ("rendered", "96x96"),
        ("photographs", "250x240"),
        ("fitted", "250x240"),
    ]
    assert all(float(ratio) > 0 for _, _, ratio in rows)
