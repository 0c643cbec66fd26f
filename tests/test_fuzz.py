"""Malformed configurations: each ends in a result or in one line, never in a traceback and never in a hang."""

import copy
import random
import warnings

import pytest
import yaml

from bench.cli import main

CONFIGS = ["demo", "demo_ig", "cifar10", "stl10", "image_folder", "paper_ig", "codecs"]
SWEEPS = ["paper", "encoders", "demo_sweep"]
JUNK = [
    None, True, -1, 0, 1, 2**70, -0.5, float("nan"), float("inf"), "", " ", "\x00", "é\u2028", "../..", "a" * 3000,
    "null", "{}", "[", "${oops}", "!!python/object/apply:os.abort []", [], [[]], [None], {}, {"class_path": "os.abort"},
    {"class_path": "bench.ZeroShotEvaluation"}, {"class_path": "datamodules.Synthetic", "init_args": []}, {"": ""},
    ["jpeg-75"] * 2, ["original", 3], {"init_args": {"x": 1}}, "jpeg-{1..999999999}", "/dev/zero", "/proc/self/mem",
]  # fmt: skip


def paths(value, path=()):
    """Where anything is in nested mappings and lists."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


def mutated(content, chance):
    """A copy with one to three things replaced, removed, renamed or added."""
    content = copy.deepcopy(content)
    for _ in range(chance.randint(1, 3)):
        path = chance.choice([path for path in paths(content) if path])
        parent = content
        for key in path[:-1]:
            parent = parent[key]
        kind = chance.choice(["junk", "junk", "junk", "remove", "rename", "add"])
        if kind == "remove":
            del parent[path[-1]]
        elif kind == "rename" and isinstance(parent, dict):
            parent[chance.choice(["bogus", "", "class_path", "init_args", 3])] = parent.pop(path[-1])
        elif kind == "add" and isinstance(parent, dict):
            parent[chance.choice(["bogus", "dict_kwargs", "__class__"])] = chance.choice(JUNK)
        else:
            parent[path[-1]] = chance.choice(JUNK)
        if not content:
            return content
    return content


def scrambled(text, chance):
    """The text cut, with bytes changed, or with its indentation broken."""
    data = bytearray(text.encode())
    kind = chance.randrange(3)
    if kind == 0:
        return bytes(data[: chance.randrange(len(data))])
    if kind == 1:
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data)
    return text.replace(chance.choice(["  ", ": ", "\n"]), chance.choice(["\t", " ", ":", "\n\n- "])).encode()


@pytest.fixture
def end(repository, tmp_path, monkeypatch, tiny_clip, capsys):
    """How a command on malformed material ends: "result", "line", or what went wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lightning"])

    def end(command, content, *options):
        (tmp_path / "config.yaml").write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                main([command, "--config", "config.yaml", *options])
            return "result"
        except SystemExit as exit:
            if exit.code in (0, None):
                return "result"
            lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
            return "line" if len(lines) == 1 and exit.code == 2 else f"{exit.code}: {lines}"
        except BaseException as error:
            return f"traceback {type(error).__name__}: {error}"

    return end


OPTIONS = [
    *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false"),
    *("--data.num_workers=0", "--data.limit=2", "--model.pretrained=nowhere.pt"),
]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_malformed_configurations_end_in_a_result_or_one_line(repository, tiny_clip, end):
    chance = random.Random(0)
    texts = {name: (repository / "configs" / f"{name}.yaml").read_text() for name in CONFIGS + SWEEPS}
    ends, bad = [], []
    for number in range(400):
        name = chance.choice(CONFIGS + SWEEPS)
        if chance.random() < 0.3:
            content = scrambled(texts[name], chance)
        else:
            content = yaml.safe_dump(mutated(yaml.safe_load(texts[name]), chance), sort_keys=False).encode()
        sweep = name in SWEEPS
        options = ["--dry-run"] if sweep else [*OPTIONS, *(tiny_clip if chance.random() < 0.5 else [])]
        found = end("sweep" if sweep else "test", content, *options)
        ends.append(found)
        if found not in ("result", "line"):
            bad.append(f"{number} {name}: {found}\n{content.decode(errors='replace')}")
    counts = {kind: ends.count(kind) for kind in ("result", "line")}
    print(f"\n{len(ends)} malformed configurations: {counts}")
    assert not bad, "\n".join(bad)
