import json
import subprocess

import torch

from bench.runs import provenance
from bench.runs.provenance import software
from datamodules.degradations import parse_all


def test_software_names_the_codecs_at_work_and_no_others():
    assert set(software(parse_all(["webp-50+jpeg-75", "blur-1"])).codecs) == {"WebP", "JPEG"}
    assert software().codecs == {}


def test_the_commit_is_that_of_this_project_alone(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *words], cwd=tmp_path, check=True)

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "of another project")
    package = tmp_path / "site-packages/bench/runs/provenance.py"
    own = provenance._git_commit()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))  # as a hook of the other one sets it
    assert provenance._git_commit() == own
    package.parent.mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(package))
    assert provenance._git_commit() is None


def test_software_names_everything_that_changes_pixels_or_logits():
    versions = software()
    assert versions.packages["torch"] == torch.__version__
    assert versions.libjpeg_turbo
    assert json.dumps(versions.to_json())
