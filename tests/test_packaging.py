"""The wheel holds what a checkout holds, and works from any folder."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    """The packages as a wheel installs them, built from a copy of the checkout."""
    tree, root = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("bench", "callbacks", "datamodules", "configs"):
        shutil.copytree(repository / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, tree)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build, root], cwd=tree, check=True, capture_output=True)
    [file] = root.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(root / "installed")
    return root / "installed"


def test_every_module_and_configuration_is_in_the_wheel(wheel, repository):
    for package in ("bench", "callbacks", "datamodules"):
        for file in (repository / package).rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                assert (wheel / file.relative_to(repository)).is_file(), file
    for file in (repository / "configs").rglob("*"):
        if file.is_file():
            assert (wheel / "bench" / file.relative_to(repository)).read_bytes() == file.read_bytes(), file


def test_all_packages_are_listed(repository):
    listed = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(file.parent.relative_to(repository).parts)
        for package in ("bench", "callbacks", "datamodules")
        for file in (repository / package).rglob("__init__.py")
    }
    assert set(listed) == folders | {"bench.configs"}


def in_an_empty_folder(wheel, tmp_path, *command):
    environment = {**os.environ, "PYTHONPATH": str(wheel), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip


def test_configurations_of_the_wheel_are_found_with_the_files_beside_them(wheel, tmp_path):
    program = (
        "from bench.command_line.configs import find_config, read_config\n"
        "file = find_config('demo')\nprint(file, *read_config(file)['model']['init_args'].values(), sep='\\n')"
    )
    config, encoder, weights, _ = in_an_empty_folder(wheel, tmp_path, "-c", program).splitlines()
    assert config == str(wheel / "bench/configs/demo.yaml")
    assert (encoder, weights) == tuple(
        str(wheel / f"bench/configs/models/demo-rn.{e}") for e in ("json", "safetensors")
    )


@pytest.mark.slow
def test_the_demo_runs_from_an_empty_folder(wheel, tmp_path):
    printed = in_an_empty_folder(
        wheel, tmp_path, "-m", "bench", "test", "--config", "demo", "--data.limit=20", "--trainer.accelerator=cpu"
    )
    assert "original  jpeg-75  jpeg-50  jpeg-25" in printed
    assert printed.splitlines()[-1] == "written to runs/demo/version_0"
    assert (tmp_path / "runs/demo/version_0/results.json").is_file()
