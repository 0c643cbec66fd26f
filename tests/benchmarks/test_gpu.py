"""The benchmark of a GPU runs where there is none; what it measures is left to a machine that has one."""

import re

from benchmarks.gpu import main


def test_every_table_has_its_rows_and_the_resize_is_pillows(capsys, tiny_clip):
    _, encoder, _, pretrained = tiny_clip
    words = [f"--encoder={encoder}", f"--pretrained={pretrained}", "--no-compile", "--second=0.01"]
    main([*words, "--images=6", "--batch-size=2", "--size=80x70"])
    printed = capsys.readouterr().out
    assert re.search(r"differ from Pillow's: 0 in fp32, 0 in TF32, of [\d,]{7,}", printed)
    rows = re.findall(r"^  (\w+) +(fp32|bf16) +[\d,]+ +[\d,]+ +[\d.]+ +([\d.]+)$", printed, flags=re.MULTILINE)
    assert [row[:2] for row in rows] == [
        (kind, mode) for mode in ("fp32", "bf16") for kind in ("thumbnails", "photographs")
    ]
    assert all(0.8 <= float(same) <= 1 for _, _, same in rows)
    assert (
        len(
            re.findall(
                r"^  (?:thumbnails|photographs)(?: +[\d.]+){4} +(?:loader|copy|forward|bookkeeping)$", printed, re.M
            )
        )
        == 2
    )
    assert re.search(r"gradients/s: [\d,]+ of Integrated Gradients, [\d,]+ bare: [\d.]+", printed)


def test_what_there_is_no_time_for_is_said(capsys):
    main(["--encoder=ViT-B/32", "--images=2", "--size=80x70", "--seconds=0"])
    assert "no time left: ViT-B/32 left out" in capsys.readouterr().out
