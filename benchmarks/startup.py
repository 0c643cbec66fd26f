"""What a run costs before its first batch, beside a bare process that imports the same packages and loads the model.

    python -m benchmarks.startup [--repetitions 5] [--encoder ViT-B/32]

The demo's encoder, and those of `--encoder` with random weights. The commands take turns, each in a process of its own:

- test: `python -m bench test --config configs/demo.yaml` with one batch, of 128 images for the demo's encoder and of 8
  for others, which are slow: seconds from the start of the process to the first `test_step` and to its end;
- bare: a process that imports torch, lightning and open_clip, builds the same model and loads the same weights.

Then: what is imported before the first batch, by cost; and heavy packages that commands import, with who asked for them
("pandas < statsmodels < bench.statistics.intervals"). Whatever ends in no package of this repository is third parties'
own doing.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import random_checkpoint
from benchmarks.timing import collect, machine, make_every_classifier, ratios, spread

DEMO = Path("configs/demo.yaml")
HEAVY = (
    "pandas", "scipy", "statsmodels", "matplotlib", "sklearn", "captum", "timm", "transformers", "torchvision",
    "tensorboard", "open_clip", "torch._dynamo",
)  # fmt: skip
_OWN = ("bench", "callbacks", "datamodules")
_SHOWN = 10
_FIRST_BATCH = "== first batch =="

# Runs the `lightning` command, as `python -m bench` does, and notes when the first batch begins and who imports what.
_WATCHED = """
import json, sys, time
importers = {}
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name not in sys.modules:
            frame = sys._getframe(1)
            while frame and frame.f_globals.get("__name__", "importlib").partition(".")[0] in ("importlib", name):
                frame = frame.f_back
            importers[name] = frame.f_globals["__name__"] if frame else "?"
WATCH
note, words = sys.argv[1], sys.argv[2:]
begun = []
import bench.cli
from bench.evaluation import ZeroShotEvaluation
step = ZeroShotEvaluation.test_step
def first(*args, **kwargs):
    if not begun:
        begun.append(time.time())
        print("== first batch ==", file=sys.stderr, flush=True)
    return step(*args, **kwargs)
ZeroShotEvaluation.test_step = first
try:
    bench.cli.main(words)
finally:
    importers = {name: importers.get(name, "?") for name in list(sys.modules)}
    with open(note, "w") as file:
        json.dump({"begun": begun, "importers": importers}, file)
"""
_BARE = """
import json, sys
import torch, lightning, open_clip
from safetensors.torch import load_file
name, weights = sys.argv[1:]
model = open_clip.CLIP(**json.load(open(name))) if name.endswith(".json") else open_clip.create_model(name)
model.load_state_dict(load_file(weights))
"""


class _Command:
    """A command of this project, run in a process of its own."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.note, self.words, self.folder = folder / "note.json", list(words), folder
        self.ends: list[float] = []
        self.runs = 0

    def __call__(self, *python: str, watch: bool = False) -> str:
        """Run it with options for Python; what it wrote to the standard error stream."""
        program = _WATCHED.replace("WATCH", "sys.meta_path.insert(0, Watch())" if watch else "")
        place = []
        if self.words[0] == "test":
            self.runs += 1
            place = [f"--trainer.logger.save_dir={self.folder}", f"--trainer.logger.version={self.runs}"]
        return _run([*python, "-c", program, str(self.note), *self.words, *place])

    def first_batch(self) -> float:
        """Seconds to the first batch; those to the end go to `ends`."""
        start = time.time()
        self()
        self.ends.append(time.time() - start)
        return float(json.loads(self.note.read_text())["begun"][0]) - start

    def importers(self) -> dict[str, str]:
        """Who asked first for what is imported, by module."""
        self(watch=True)
        found: dict[str, str] = json.loads(self.note.read_text())["importers"]
        return found


def main() -> None:
    """Print times and imports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", default=[], help="beside the demo's; repeatable")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--images", type=int, default=8, help="images of the batch of `--encoder`s")
    arguments = parser.parse_args()
    make_every_classifier()
    print(f"{machine()}; {arguments.repetitions} repetitions")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = Path("configs/models/demo-rn")
        weights = model.with_suffix(".safetensors")
        demo = _Command(folder / "demo", _test("--data.limit=128"))
        bare = partial(_seconds, ["-c", _BARE, str(model.with_suffix(".json")), str(weights)])
        _compare("the demo's encoder", demo, bare, arguments.repetitions)
        for encoder in arguments.encoder:
            file = random_checkpoint(encoder, folder)
            size = [f"--data.limit={arguments.images}", f"--data.batch_size={arguments.images}"]
            words = _test(*size, f"--model.encoder={encoder}", f"--model.pretrained={file}")
            bare = partial(_seconds, ["-c", _BARE, file.stem, str(file)])
            _compare(encoder, _Command(folder / file.stem, words), bare, arguments.repetitions)
        _profile(_Command(folder / "profile", _test("--data.limit=128", "--data.num_workers=0")))
        _list_heavy(folder)


def _test(*options: str) -> list[str]:
    return ["test", "--config", str(DEMO), "--trainer.enable_progress_bar=false", *options]


def _run(words: Sequence[str]) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stderr


def _seconds(words: Sequence[str]) -> float:
    start = time.perf_counter()
    _run(words)
    return time.perf_counter() - start


def _compare(name: str, command: _Command, bare: Callable[[], float], repetitions: int) -> None:
    command.folder.mkdir()
    seconds = collect({"test": command.first_batch, "bare": bare}, repetitions, warmup=1)
    seconds = {"to the first batch": seconds["test"], "to the end": command.ends[1:], "bare": seconds["bare"]}
    print(f"\n{name}: seconds, median (least to greatest), and as a multiple of the bare process, round by round")
    for what, values in seconds.items():
        print(f"  {what:20s} {spread(values)}   {spread(ratios(values, seconds['bare']))}")
    print(f"  first batch to end   {statistics.median(ratios_difference(seconds)):5.2f}")


def ratios_difference(seconds: Mapping[str, Sequence[float]]) -> list[float]:
    """Seconds from the first batch to the end, round by round."""
    return [end - begin for end, begin in zip(seconds["to the end"], seconds["to the first batch"], strict=True)]


def _profile(command: _Command) -> None:
    command.folder.mkdir()
    before = command("-X", "importtime").partition(_FIRST_BATCH)[0]
    rows = [(int(own), int(whole), name) for own, whole, name in re.findall(r"(\d+) \| +(\d+) \| +(\S+)", before)]
    total = sum(own for own, _, _ in rows)
    packages: Counter[str] = Counter()
    for own, _, name in rows:
        packages[name.partition(".")[0]] += own
    print(f"\nimports before the first batch: {len(rows)} modules, {total / 1e6:.2f} s under `-X importtime`")
    print("  packages by the time in their own modules, s")
    for package, own in packages.most_common(_SHOWN):
        print(f"    {own / 1e6:6.2f}  {package}")
    print("  modules by the time in themselves, s")
    for own, _, name in sorted(rows, reverse=True)[:_SHOWN]:
        print(f"    {own / 1e6:6.2f}  {name}")
    print("  packages by the time until imported, with all they import first, s")
    for whole, name in sorted(((whole, name) for _, whole, name in rows if "." not in name), reverse=True)[:_SHOWN]:
        print(f"    {whole / 1e6:6.2f}  {name}")


def _list_heavy(folder: Path) -> None:
    test = _Command(folder / "heavy", _test("--data.limit=16"))
    test.folder.mkdir()
    writer = '[{"class_path": "callbacks.ResultsWriter"}]'
    commands: dict[str, _Command] = {
        "test": test,
        "test without TensorBoardReport": _Command(test.folder, [*test.words, f"--trainer.callbacks={writer}"]),
        "test --help": _Command(test.folder, ["test", "--help"]),
        "sweep --dry-run": _Command(test.folder, ["sweep", "--config", "configs/demo_sweep.yaml", "--dry-run"]),
        "report": _Command(test.folder, ["report", str(test.folder), f"--output={folder / 'report'}"]),
    }
    commands["test without TensorBoardReport"].runs = 1
    for name, command in commands.items():
        importers = _importers(command)
        print(f"\n`{name}` imports {len(importers)} modules, and of the heavy packages")
        for package in HEAVY:
            if package in importers:
                print(f"    {' < '.join(_chain(package, importers))}")
        print(f"    and not: {', '.join(package for package in HEAVY if package not in importers)}")


def _importers(command: _Command) -> dict[str, str]:
    try:
        return command.importers()
    except SystemExit:  # `sweep` and `report` end with one, in the child; a real failure has written no note
        return dict(json.loads(command.note.read_text())["importers"])


def _chain(package: str, importers: Mapping[str, Any]) -> list[str]:
    """A package, who asked for it, and so on up to a module of this repository."""
    chain = [package]
    while (asked := importers.get(chain[-1].partition(".")[0] if len(chain) > 1 else package)) not in (None, "?"):
        if asked == "__main__" or asked.partition(".")[0] in {name.partition(".")[0] for name in chain[1:]}:
            break
        chain.append(str(asked))
        if asked.partition(".")[0] in _OWN:
            break
    return chain


if __name__ == "__main__":
    main()
