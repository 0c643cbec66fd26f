"""Malformed and malicious grids: each ends in cells below the output or in one line, and runs nothing."""

import os
import random
import time

import pytest
import yaml

from bench.command_line.ending import mistakes_in_one_line
from bench.sweep.grid import read_sweep

BASE = {"model": {"class_path": "x", "init_args": {"encoder": "RN50"}}, "data": {"init_args": {"limit": 3}}}
OUTPUT = "runs/x"
CANARY = "executed"
LONGEST_SECONDS = 20.0
NAMES = [
    *("model.encoder", "data.limit", "config", "seed_everything", "a..b", "a.", "model", "data.degradations+"),
    *("../../x", "a/b", "/etc/x", "..", "", " ", "a\x00b", "é", "\u202ea", "--config", "a=b", "a\nb", "a" * 3000),
    *("trainer", "trainer.logger", "trainer.logger.save_dir", "trainer.default_root_dir", 3, None, True, 1.5),
]
VALUES = [
    *(None, True, -1, 2**70, 10**400, float("nan"), "", "x", "../../x", "..", "/etc/passwd", "a\x00b", "a\nb"),
    *("x" * 90, "x" * 3000, "x" * 200_000, "/dev/zero", "/proc/self/mem", "base.yaml", "\u202ex", ".yaml", "../.json"),
    *([], [[]], ["../.."], {}, {"../x": 1}, {"a": {"b": None}}, {"": ""}, ["a"] * 50),
]
GOOD = ["RN50", "ViT-B/32", 1, 2.5, True, "../../x", "/etc/passwd", "..", "\u202ex", {"../x": 1}, ["../.."]]
TEXTS = [
    f"options: {{config: base.yaml}}\ngrid: {{a.b: [!!python/object/apply:os.system ['touch {CANARY}']]}}",
    f"output: {OUTPUT}\ngrid: {{a: [!!python/object/new:os.system ['touch {CANARY}'], !!python/name:os.abort '']}}",
    "grid: " + "[" * 100_000,
    "grid: " + "{a: " * 5_000,
    "\n".join(f"{'  ' * level}a:" for level in range(300)),
    "&a [*a]",
    "output: x\ngrid: &g {a: [*g]}",
    "a: &a0 [x, x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40)),
    "output: x\ngrid: {a: [" + "9" * 6_000 + "]}",
    "output: x\ngrid: {? [a, b] : [1]}",
    "output: x\ngrid: {a: [1], a: [2]}",
    yaml.safe_dump({"output": "x", "options": {"config": "x"}, "grid": {f"a{n}": [*range(100)] for n in range(4)}}),
    "output: x\nsteps: [a]",
    "output: x\nsteps: {../x: {options: {config: base.yaml}, grid: {a.b: [1]}}}",
    "output: x\nsteps: {a: [], b: {grid: {c.d: {weights_of: a}}}}",
    "output: x\nsteps: {a: {options: {config: base.yaml}, grid: {c.d: {weights_of: a}}}}",
    "output: x\noptions: {config: base.yaml}\nsteps: {a: {command: fit, grid: {c: [1]}}, "
    "b: {grid: {e: {weights_of: a}}}}",
    "output: x\nsteps: {a: {command: fit, options: {config: base.yaml}, grid: {c.d: [1]}}, b: {command: fit, "
    "options: {config: base.yaml}, grid: {e: {weights_of: [a, [a]], over: {x: 1}}}}}",
    "output: x\noptions: {config: base.yaml}\ngrid: {'a.b, ../c': [1]}",
    "output: x\noptions: {config: base.yaml}\ngrid: {a.b: [1, 2]}\nexclude: [{b: {c: 1}}, 3, [a]]",
    "x" * 2_000_000,
    "\x00",
    "",
]  # fmt: skip


def grid(chance):
    """A sweep's configuration as YAML, with one to four axes of names and values that are mostly wrong."""

    def options():
        return {chance.choice(NAMES): chance.choice(VALUES) for _ in range(chance.randint(0, 2))}

    def axis():
        kind = chance.randrange(5)
        if kind == 0:
            return chance.choice(VALUES)
        if kind == 1:
            return {chance.choice([*VALUES[:22], *NAMES]): options() for _ in range(chance.randint(0, 3))}
        if kind == 2:
            return list(range(10 ** chance.randint(0, 2)))
        return [chance.choice(VALUES if chance.random() < 0.3 else GOOD) for _ in range(chance.randint(1, 4))]

    content = {
        "output": OUTPUT if chance.random() < 0.9 else chance.choice(VALUES),
        "options": {"config": "base.yaml"} if chance.random() < 0.9 else options(),
        "grid": {
            chance.choice(NAMES[:8] if chance.random() < 0.9 else NAMES): axis() for _ in range(chance.randint(1, 4))
        },
    }
    if chance.random() < 0.1:
        content[chance.choice(list(content))] = chance.choice(VALUES)
    if chance.random() < 0.1:
        content[chance.choice(["command", "bogus", 3])] = chance.choice(["fit", *VALUES])
    text = yaml.safe_dump(content, sort_keys=False)
    if chance.random() < 0.1:
        text = text[: chance.randrange(len(text))]
    return text


def end(folder, text, capsys):
    """How a grid ends: "cells", "line", or what went wrong."""
    file = folder / "sweep.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    began = time.monotonic()
    found = "cells"
    try:
        with mistakes_in_one_line():
            cells = read_sweep(file, OUTPUT, {})
            for cell in cells:
                within = os.path.normpath(cell.folder).split(os.sep)
                if within[:2] != OUTPUT.split("/") or len(within) != 2 + len(cell.labels):
                    return f"outside the output: {cell.folder}"
                if any("\0" in word for word in cell.arguments()):
                    return "an argument that no program takes"
            for cell in cells[:3]:
                cell.expected()
    except SystemExit as exit:
        error = capsys.readouterr().err
        found = "line" if exit.code == 2 and error.startswith("error: ") and error.count("\n") == 1 else error
    except BaseException as error:
        return f"traceback {type(error).__name__}: {error}"
    return found if time.monotonic() - began < LONGEST_SECONDS else "hang"


def check(folder, texts, capsys):
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE))
    ends = [end(folder, text, capsys) for text in texts]
    left = sorted(file.name for file in folder.iterdir())
    bad = [f"{found}\n{text[:300]}" for found, text in zip(ends, texts, strict=True) if found not in ("cells", "line")]
    tracebacks, hangs = (sum(found.startswith(kind) for found in ends) for kind in ("traceback", "hang"))
    outside = sum(found.startswith("outside") for found in ends)
    executions = left.count(CANARY)
    with capsys.disabled():
        print(
            f"\n{len(ends)} grids: {ends.count('cells')} cells, {ends.count('line')} one line, "
            f"{executions} executions, {tracebacks} tracebacks, {hangs} hangs, {outside} outside the output"
        )
    assert not bad, "\n\n".join(bad)
    assert left == ["base.yaml", "sweep.yaml"]


@pytest.mark.parametrize(
    ("first", "count"), [(0, 20), pytest.param(20, 980, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_malformed_grids_end_in_cells_below_the_output_or_in_one_line(tmp_path, monkeypatch, capsys, first, count):
    monkeypatch.chdir(tmp_path)
    texts = [grid(random.Random(number)) for number in range(first, first + count)]
    check(tmp_path, [*TEXTS, *texts] if not first else texts, capsys)
