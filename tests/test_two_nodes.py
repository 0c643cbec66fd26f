"""Two nodes of a cluster, as two network namespaces of this machine that see nothing of each other but a cable."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress

import pytest
from PIL import Image

from datamodules import Synthetic
from tests.support.results import read_record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="namespaces need root and iproute2"),
]

IMAGES, TIMEOUT = 240, 15
START, CLEAN_UP = 240, 60  # seconds, generously
NAMES = ("bench-node-0", "bench-node-1")


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@pytest.fixture
def nodes():
    """Names of two namespaces with a cable between them."""
    for name in NAMES:
        with suppress(subprocess.CalledProcessError):
            ip("netns", "del", name)
        ip("netns", "add", name)
    ip("link", "add", "bench-cable0", "netns", NAMES[0], "type", "veth", "peer", "bench-cable1", "netns", NAMES[1])
    for number, name in enumerate(NAMES):
        ip("-n", name, "address", "add", f"10.77.0.{number + 1}/24", "dev", f"bench-cable{number}")
        for device in ("lo", f"bench-cable{number}"):
            ip("-n", name, "link", "set", device, "up")
    yield NAMES
    for name in NAMES:
        ip("netns", "del", name)


@pytest.fixture
def shards(tmp_path):
    """The demo's images in tar shards."""
    data = Synthetic(num_workers=0, limit=IMAGES)
    data.setup("test")
    source, folder = data.source("test"), tmp_path / "shards"
    (folder / "test").mkdir(parents=True)
    (folder / "classnames.txt").write_text("\n".join(source.classes))
    (folder / "test/nshards.txt").write_text("3")
    for shard in range(3):
        with tarfile.open(folder / f"test/{shard}.tar", "w") as archive:
            for index in range(shard, IMAGES, 3):
                buffer = io.BytesIO()
                image: Image.Image = source.load(index)
                image.save(buffer, "PNG")
                for ending, content in (("png", buffer.getvalue()), ("cls", str(source.label(index)).encode())):
                    member = tarfile.TarInfo(f"{index:04d}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return folder


@pytest.fixture
def start(repository, shards, tiny_clip, tmp_path):
    """Starts a run, on a node of two or by itself."""
    started = []

    def start(output, node=None):
        words = [
            *("-m", "bench", "test", "--model=bench.ZeroShotEvaluation", "--data=datamodules.TarShards", *tiny_clip),
            *(f"--data.root={shards}", "--data.degradations=[jpeg-50]", "--data.batch_size=4", "--data.num_workers=1"),
            *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.logger=false"),
            *("--trainer.callbacks=callbacks.ResultsWriter", "--trainer.callbacks.flush_seconds=0"),
            *("--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={output}"),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
        place = []
        if node is not None:
            place = ["ip", "netns", "exec", NAMES[node]]
            words += ["--trainer.num_nodes=2", "--trainer.strategy=lightning.pytorch.strategies.DDPStrategy"]
            words += [f"--trainer.strategy.timeout=0:00:{TIMEOUT}"]
            environment |= {"MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29577", "NODE_RANK": str(node)}
            environment |= {"GLOO_SOCKET_IFNAME": f"bench-cable{node}"}
        with (tmp_path / f"{len(started)}.log").open("w") as log:
            command = [*place, sys.executable, *words]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ended(process, seconds):
    return process.wait(timeout=seconds)


def test_a_node_that_vanishes_ends_the_other_in_time_and_the_rerun_completes(nodes, start, tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert ended(start(alone), START) == 0
    first, second = (start(shared, node) for node in (0, 1))
    deadline = time.monotonic() + START
    while len(list((shared / "unfinished").glob("*.safetensors"))) < 8:
        assert time.monotonic() < deadline, (tmp_path / "1.log").read_text()
        assert first.poll() is None, (tmp_path / "1.log").read_text()
        time.sleep(0.05)
    ip("-n", NAMES[1], "link", "set", "bench-cable1", "down")  # before its processes could say that they end
    os.killpg(second.pid, signal.SIGKILL)
    vanished = time.monotonic()
    assert ended(first, START + TIMEOUT + CLEAN_UP) != 0
    print(f"the first node ended {time.monotonic() - vanished:.1f} s after the second had vanished")
    assert not (shared / "results.json").exists()

    ip("-n", NAMES[1], "link", "set", "bench-cable1", "up")
    assert [ended(process, START) for process in [start(shared, node) for node in (0, 1)]] == [0, 0]
    assert (shared / "images.csv").read_bytes() == (alone / "images.csv").read_bytes()
    run = read_record(shared)["run"]
    assert run["processes"] == 2
    assert 0 < run["images_taken_up"] < IMAGES
