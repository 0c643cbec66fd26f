"""Model configurations may come from strangers: each is used, or refused in one line, within bounds."""

import copy
import json

import open_clip
import pytest

from bench.clip.encoders import load_encoder, untrained
from datamodules.errors import UserError
from tests.support.checkpoints import RESNET, VIT, build, save_safetensors

ABSENT = object()


def changed(config, **places):
    """A copy of a configuration with values replaced or, where ABSENT, removed; `vision_cfg__width` is such a place."""
    config = copy.deepcopy(config)
    for place, value in places.items():
        *above, last = place.split("__")
        inner = config
        for key in above:
            inner = inner[key]
        if value is ABSENT:
            del inner[last]
        else:
            inner[last] = value
    return config


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_safetensors(build(VIT), tmp_path_factory.mktemp("w") / "w.safetensors")


def load(folder, content, weights):
    path = folder / "c.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_encoder(str(path), weights)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("null", "but a NoneType"),
        ("3", "but a int"),
        ('{"model_cfg": null}', "model_cfg has to be a map"),
        ('{"model_cfg": []}', "model_cfg has to be a map"),
        (changed(VIT, vision_cfg=None), "vision_cfg has to be a map"),
        (changed(VIT, text_cfg=[]), "text_cfg has to be a map"),
        (changed(VIT, text_cfg=ABSENT), "add text_cfg"),
        (changed(VIT, embed_dim=None), "embed_dim has to be"),
        (changed(VIT, embed_dim=True), "embed_dim has to be"),
        (changed(VIT, embed_dim=-1), "embed_dim has to be"),
        (changed(VIT, vision_cfg__layers=10**6), "layers has to be at most 1000"),
        (changed(VIT, text_cfg__layers=10**6), "layers has to be at most 1000"),
        (changed(RESNET, vision_cfg__layers=[10**4] * 4), "layers has to be at most 1000"),
        (changed(VIT, vision_cfg__layers=None), "layers has to be at most 1000"),
        (changed(VIT, text_cfg__context_length=10**12), "context_length is out of range"),
        (json.dumps(VIT).replace("64", "1e999", 1), "out of range"),
        (json.dumps(VIT).replace("64", "NaN", 1), "out of range"),
        (changed(VIT, text_cfg__context_length=10**400), "context_length is out of range"),
        (json.dumps(VIT).replace("64", "9" * 6000, 1), "no model configuration"),
        (changed(VIT, vision_cfg__width=10**6), "describes .* numbers, the file holds"),
        (changed(VIT, text_cfg__context_length=10**5), "describes .* numbers, the file holds"),
        (changed(VIT, vision_cfg__image_size=8 * 10**4), "describes .* numbers, the file holds"),
        (changed(VIT, vision_cfg__patch_size=0), "cannot be built"),
        (changed(VIT, vision_cfg__width="64"), "cannot be built"),
        (changed(VIT, vision_cfg__heads=7), "cannot be built|does not fit"),
        (changed(VIT, vision_cfg__timm_model_name="hf-hub:someone/tower"), "timm_model_name has to be"),
        (changed(VIT, text_cfg__tokenizer_kwargs=[1]), "tokenizer_kwargs has to be a map"),
        ({"model_cfg": VIT, "preprocess_cfg": []}, "preprocess_cfg has to be a map"),
        ({"model_cfg": VIT, "preprocess_cfg": {"mean": [0.5, 0.5]}}, "mean has to be three numbers"),
        ({"model_cfg": VIT, "preprocess_cfg": {"std": [0.2, 0.2, 0]}}, "std has to be three numbers"),
        ({"model_cfg": VIT, "preprocess_cfg": {"std": ["a", "b", "c"]}}, "std has to be three numbers"),
        ({"model_cfg": VIT, "preprocess_cfg": {"size": [32]}}, "size is none"),
        ({"model_cfg": VIT, "preprocess_cfg": {"interpolation": ["bicubic"]}}, "interpolation has to be a text"),
        ({"model_cfg": VIT, "preprocess_cfg": {"resize_mode": ["squash"]}}, "resize_mode has to be a text"),
        ("[" * 100_000, "no model configuration"),
        ('{"a":' * 20 + "1" + "}" * 20, "add embed_dim"),
        ("{" + " " * 2**20 + "}", "longer than"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_an_unusable_configuration_is_one_line(tmp_path, weights, content, match):
    with pytest.raises(UserError, match=match) as error:
        load(tmp_path, content, weights)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


def test_deep_nesting_is_refused(tmp_path, weights):
    deep = []
    for _ in range(50):
        deep = [deep]
    with pytest.raises(UserError, match="nested too deep"):
        load(tmp_path, changed(VIT, vision_cfg__width=deep), weights)


def test_ordinary_configurations_stay_as_they_are(tmp_path, weights):
    assert load(tmp_path, VIT, weights).image_size == 32
    wrapped = {"model_cfg": VIT, "preprocess_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1], "size": 32}}
    assert load(tmp_path, wrapped, weights).mean == (0, 0, 0)


def _first_tag(name):
    return next(iter(open_clip.list_pretrained_tags_by_model(name)), None)


FEW = ["RN50x4", "ViT-B-16-plus", "coca_ViT-B-32", "MobileCLIP-S1", "ViT-B-16-SigLIP", "roberta-ViT-B-32"]


def _builds_or_says_why(name, weights):
    config = open_clip.get_model_config(name)
    given = (name, _first_tag(name) or weights)
    if config["text_cfg"].get("hf_model_name"):  # whose architecture transformers downloads
        with pytest.raises(UserError, match=r"cannot be built.*install transformers and check the network"):
            untrained(*given)
        return False
    model, side = untrained(*given)
    assert side == config["vision_cfg"].get("image_size", side)
    assert all(parameter.is_meta for parameter in model.parameters())
    return True


@pytest.mark.parametrize("name", FEW)
def test_built_in_names_build_without_weights_or_say_why_not(name, weights):
    _builds_or_says_why(name, weights)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_built_in_name_builds_without_weights_or_says_why_not(weights):
    names = open_clip.list_models()
    built = [name for name in names if _builds_or_says_why(name, weights)]
    print(f"\n{len(built)} of {len(names)} built-in names build")
    text = [name for name in names if not open_clip.get_model_config(name)["text_cfg"].get("hf_model_name")]
    assert set(text) <= set(built)
