import json

import torch

from bench.runs.provenance import software
from datamodules.degradations import parse_all


def test_software_names_the_codecs_at_work_and_no_others():
    assert set(software(parse_all(["webp-50+jpeg-75", "blur-1"])).codecs) == {"WebP", "JPEG"}
    assert software().codecs == {}


def test_software_names_everything_that_changes_pixels_or_logits():
    versions = software()
    assert versions.packages["torch"] == torch.__version__
    assert versions.libjpeg_turbo
    assert json.dumps(versions.to_json())
