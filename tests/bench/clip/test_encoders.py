import json
import logging
import warnings

import open_clip
import pytest
import torch
from torch import nn

from bench.clip.blueprints import find_blueprint, open_clip_name
from bench.clip.configurations import preprocessing
from bench.clip.encoders import load_encoder
from bench.clip.towers import built_activations
from bench.paper import OPENAI_ENCODERS
from datamodules.errors import UserError
from tests.support.checkpoints import (
    RESNET,
    TEXT,
    VIT,
    build,
    logits,
    rounded_like_openai,
    save_safetensors,
    save_torchscript,
    write_config,
)

CONFIGS = pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])


def _save(model, config, folder, kind):
    if kind == "safetensors":
        return save_safetensors(model, folder / "w.safetensors")
    if kind == "torchscript":
        return save_torchscript(model, config, folder / "w.pt")
    path = folder / "w.pt"
    torch.save(model.state_dict(), path)
    return str(path)


@CONFIGS
@pytest.mark.parametrize("kind", ["safetensors", "state dict", "torchscript"])
def test_every_format_gives_open_clips_logits(tmp_path, config, kind):
    model = build(config)
    if kind == "torchscript":
        model = rounded_like_openai(model)
    encoder = load_encoder(write_config(tmp_path, config), _save(model, config, tmp_path, kind))
    size = config["vision_cfg"]["image_size"]
    expected = logits(model, size, 20)
    assert (logits(encoder.model, size, 20) - expected).abs().max() < 1e-5
    assert encoder.image_size == size
    assert encoder.activation == "quickgelu"


@CONFIGS
def test_no_random_numbers_are_drawn_for_weights_that_a_file_replaces(tmp_path, config):
    file = save_safetensors(build(config), tmp_path / "w.safetensors")
    before = torch.get_rng_state()
    load_encoder(write_config(tmp_path, config), file)
    assert torch.equal(torch.get_rng_state(), before)


@CONFIGS
def test_the_wrong_activation_would_change_the_logits(config):
    """What the checks below guard against is a real difference, far above the tolerance of the tests above."""
    right, wrong = build(config), build({**config, "quick_gelu": False})
    wrong.load_state_dict(right.state_dict())
    size = config["vision_cfg"]["image_size"]
    assert (logits(right, size, 20) - logits(wrong, size, 20)).abs().max() > 1e-3


@CONFIGS
@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float64"])
def test_model_is_frozen_float32_in_evaluation_mode(tmp_path, config, stored):
    path = save_safetensors(build(config).to(getattr(torch, stored)), tmp_path / "w.safetensors")
    model = load_encoder(write_config(tmp_path, config), path).model
    assert not any(m.training for m in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("quick", [True, False])
@CONFIGS
def test_configuration_and_archive_that_disagree_are_refused(tmp_path, config, quick):
    trained, claimed = {**config, "quick_gelu": quick}, {**config, "quick_gelu": not quick}
    archive = save_torchscript(build(trained), trained, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"contradictory: .*gelu according to tiny\.json .*gelu according to .*w\.pt"):
        load_encoder(write_config(tmp_path, claimed), archive)


@pytest.mark.parametrize("quick", [True, False])
def test_configuration_and_metadata_or_argument_that_disagree_are_refused(tmp_path, quick):
    config = {**VIT, "quick_gelu": quick}
    right, wrong = ("quickgelu", "gelu") if quick else ("gelu", "quickgelu")
    path = write_config(tmp_path, config)
    silent = save_safetensors(build(config), tmp_path / "silent.safetensors")
    assert load_encoder(path, silent, right).activation == right
    with pytest.raises(UserError, match=r"contradictory.*tiny\.json.*the argument `activation`"):
        load_encoder(path, silent, wrong)
    with pytest.raises(UserError, match=r"contradictory.*tiny\.json.*the metadata of loud\.safetensors"):
        load_encoder(path, save_safetensors(build(config), tmp_path / "loud.safetensors", activation=wrong))


def test_quick_gelu_absent_from_a_configuration_means_gelu(tmp_path):
    config = {k: v for k, v in VIT.items() if k != "quick_gelu"}
    encoder = load_encoder(write_config(tmp_path, config), save_safetensors(build(config), tmp_path / "w.safetensors"))
    assert encoder.activation == "gelu"
    assert built_activations(encoder.model) == {"gelu"}


@pytest.fixture
def named(monkeypatch):
    """Small architectures under the real names, so that the rules for names run on them."""
    plain = {k: v for k, v in VIT.items() if k != "quick_gelu"}
    configs = open_clip.factory._MODEL_CONFIGS
    for name in ("ViT-B-32", "ViT-g-14", "ViT-B-16-plus", "MobileCLIP-B"):
        monkeypatch.setitem(configs, name, plain)
    monkeypatch.setitem(configs, "ViT-B-32-quickgelu", VIT)


@pytest.fixture
def downloads(monkeypatch, tmp_path):
    """open_clip's download, served from a local file that says nothing about its activation."""
    path = save_safetensors(build(VIT), tmp_path / "downloaded.safetensors")
    asked = []

    def download(tag):
        asked.append(tag["hf_hub"])
        return path

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", download)
    return asked


@pytest.mark.usefixtures("named")
def test_plain_name_with_a_silent_file_needs_the_argument(tmp_path):
    path = save_safetensors(build(VIT), tmp_path / "w.safetensors")
    for name in ("ViT-B/32", "ViT-B-32", "ViT-B-16-plus"):
        with pytest.raises(UserError, match=r"--model\.activation quickgelu.*--model\.activation gelu"):
            load_encoder(name, path)
        for activation in ("quickgelu", "gelu"):
            encoder = load_encoder(name, path, activation)
            assert encoder.activation == activation
            assert built_activations(encoder.model) == {activation}
    assert load_encoder("ViT-g-14", path).activation == "gelu"  # all its published weights are


@pytest.mark.usefixtures("named")
def test_quickgelu_in_the_name_settles_it_and_binds(tmp_path):
    path = save_safetensors(build(VIT), tmp_path / "w.safetensors")
    assert load_encoder("ViT-B-32-quickgelu", path).activation == "quickgelu"
    with pytest.raises(UserError, match=r"the name ViT-B-32-quickgelu.*the argument"):
        load_encoder("ViT-B-32-quickgelu", path, "gelu")


@pytest.mark.usefixtures("named")
def test_plain_name_takes_the_activation_of_an_openai_archive(tmp_path):
    archive = save_torchscript(build(VIT), VIT, tmp_path / "w.pt")
    assert load_encoder("ViT-B/32", archive).activation == "quickgelu"


@pytest.mark.usefixtures("named")
def test_tag_decides_the_activation_of_a_plain_name(downloads):
    for tag, activation in (("openai", "quickgelu"), ("laion2b_s34b_b79k", "gelu"), (None, "quickgelu")):
        encoder = load_encoder("ViT-B/32", tag)
        assert built_activations(encoder.model) == {activation}
        assert encoder.provenance()["pretrained"] == (tag or "openai")
    assert downloads[0] == downloads[2] == "timm/vit_base_patch32_clip_224.openai/"


@pytest.mark.usefixtures("named")
def test_tag_and_argument_that_disagree_are_refused_before_a_download(downloads):
    with pytest.raises(UserError, match=r"open_clip's tag openai.*the argument"):
        load_encoder("ViT-B/32", "openai", "gelu")
    assert downloads == []


@pytest.mark.usefixtures("named")
def test_tag_brings_its_own_preprocessing(downloads):
    encoder = load_encoder("MobileCLIP-B", "datacompdr")
    assert (encoder.mean, encoder.std, encoder.interpolation) == ((0, 0, 0), (1, 1, 1), "bilinear")
    encoder = load_encoder("ViT-B-32", "openai")
    assert (encoder.mean, encoder.std) == (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    assert (encoder.interpolation, encoder.resize_mode) == ("bicubic", "shortest")
    assert len(downloads) == 2


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A repository of the hub with configuration and weights."""
    preprocess = {"mean": [0.1, 0.2, 0.3], "interpolation": "bilinear"}
    files = {
        "open_clip_config.json": write_config(tmp_path, {"model_cfg": VIT, "preprocess_cfg": preprocess}, "hub.json"),
        "open_clip_model.safetensors": save_safetensors(build(VIT), tmp_path / "hub.safetensors"),
    }

    def download(repo_id, filename, **_):
        if repo_id != "someone/clip" or filename not in files:
            raise OSError(f"no {filename}\nin {repo_id}")
        return files[filename]

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", download)


@pytest.mark.usefixtures("hub")
def test_hub_repository_brings_architecture_weights_and_preprocessing():
    encoder = load_encoder("hf-hub:someone/clip")
    assert (logits(encoder.model, 32, 20) - logits(build(VIT), 32, 20)).abs().max() < 1e-5
    assert encoder.mean == (0.1, 0.2, 0.3)
    assert encoder.interpolation == "bilinear"
    assert encoder.context_length == 20
    with pytest.raises(UserError, match=r"the configuration of hf-hub:someone/clip.*the argument"):
        load_encoder("hf-hub:someone/clip", None, "gelu")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("encoder", "tag"), [("hf-hub:no/where", None), ("RN50", "openai")])
def test_download_that_fails_is_one_line_with_a_mend(encoder, tag):
    with pytest.raises(UserError, match=r"could not be downloaded.*or use a local weights file") as error:
        load_encoder(encoder, tag)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", OPENAI_ENCODERS)
def test_paper_names_are_open_clips_with_openai_weights_and_quickgelu(name):
    plain = open_clip_name(name)
    assert open_clip_name(plain) == plain
    assert open_clip.get_pretrained_cfg(plain, "openai")["quick_gelu"] is True
    config = open_clip.get_model_config(plain)
    assert {**config, "quick_gelu": True} == open_clip.get_model_config(f"{plain}-quickgelu")
    sizes = {"RN50x4": 288, "RN50x16": 384, "RN50x64": 448, "ViT-L/14@336px": 336}
    assert config["vision_cfg"]["image_size"] == sizes.get(name, 224)


@pytest.mark.parametrize(
    ("encoder", "nearest"), [("RN5O", "RN50"), ("ViT-B/33", "ViT-B/32"), ("vit-l-14", "ViT-L-14"), ("qqqq", "RN50x64")]
)
def test_misspelt_encoder_is_told_the_nearest_names(encoder, nearest):
    with pytest.raises(UserError, match=f"unknown encoder '{encoder}'.*{nearest}"):
        load_encoder(encoder, "openai")


def test_unknown_tag_is_told_the_known_ones():
    with pytest.raises(UserError, match=r"'lain2b' is neither a tag of ViT-B/32 \(.*openai.*laion2b_s34b_b79k"):
        load_encoder("ViT-B/32", "lain2b")
    with pytest.raises(UserError, match="needs `pretrained`: its tags are webli"):
        load_encoder("ViT-B-16-SigLIP")


def test_missing_files_are_named(tmp_path):
    config = write_config(tmp_path, VIT)
    for encoder, pretrained, match in (
        ("RN50", "no/where.pt", r"weights file no/where\.pt does not exist"),
        (config, "no/where.pt", r"weights file no/where\.pt for .* does not exist"),
        ("RN50", f"{tmp_path}.pt/../", "is neither a tag"),
        (config, str(tmp_path), "is no regular file: set `pretrained` to a local file"),
        (config, None, "needs weights"),
        ("no/where.json", "x.pt", r"model configuration no/where\.json does not exist"),
    ):
        with pytest.raises(UserError, match=match) as caught:
            load_encoder(encoder, pretrained)
        assert "`pretrained`" not in caught.value.on_command_line()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is no model configuration in JSON"),
        ("[]", "is no model configuration in JSON"),
        ('{"embed_dim": 3}', "add vision_cfg, text_cfg"),
        (json.dumps({**VIT, "vision_cfg": {**VIT["vision_cfg"], "wdith": 3}}), "cannot be built.*wdith"),
    ],
)
def test_unusable_configuration_is_one_line(tmp_path, content, match):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(UserError, match=match) as error:
        load_encoder(str(path), save_safetensors(build(VIT), tmp_path / "w.safetensors"))
    assert "\n" not in str(error.value)


def test_input_that_is_not_square_is_refused(tmp_path):
    config = {**VIT, "vision_cfg": {**VIT["vision_cfg"], "image_size": [32, 64]}}
    with pytest.raises(UserError, match="32x64"):
        load_encoder(write_config(tmp_path, config), save_safetensors(build(config), tmp_path / "w.safetensors"))


def test_unknown_activation_is_refused(tmp_path):
    with pytest.raises(UserError, match="'relu'"):
        load_encoder(write_config(tmp_path, VIT), "w.pt", "relu")


def test_timm_vision_tower_leaves_the_text_tower_to_check(tmp_path):
    config = {
        "embed_dim": 32,
        "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224, "timm_pool": "avg"},
        "text_cfg": TEXT,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build({**config, "quick_gelu": True})
    path = save_safetensors(model, tmp_path / "w.safetensors")
    encoder = load_encoder(write_config(tmp_path, {**config, "quick_gelu": True}), path)
    assert built_activations(encoder.model) == {"quickgelu"}  # timm's own GELU does not count
    assert (logits(encoder.model, 224, 20) - logits(model, 224, 20)).abs().max() < 1e-5


def test_provenance_is_json_and_names_weights_by_digest(tmp_path):
    path = save_safetensors(build(VIT), tmp_path / "w.safetensors")
    record = json.loads(json.dumps(load_encoder(write_config(tmp_path, VIT), path).provenance()))
    assert len(record["weights_sha256"]) == 64
    assert record["activation"] == "quickgelu"
    assert record["open_clip"] == open_clip.__version__
    assert record["parameters"] == sum(p.numel() for p in build(VIT).parameters())


def test_loading_leaves_registry_log_level_and_log_quiet(tmp_path, caplog):
    before = open_clip.list_models()
    with caplog.at_level(logging.DEBUG):
        load_encoder(write_config(tmp_path, VIT), save_safetensors(build(VIT), tmp_path / "w.safetensors"))
        assert caplog.records == []
        logging.getLogger().info("still heard")
    assert [r.message for r in caplog.records] == ["still heard"]
    assert open_clip.list_models() == before


def test_transformer_blocks_contain_the_activation(tmp_path):
    path = save_safetensors(build(VIT), tmp_path / "w.safetensors")
    model = load_encoder(write_config(tmp_path, VIT), path).model
    blocks = [*model.transformer.resblocks, *model.visual.transformer.resblocks]
    assert len(blocks) == 4
    assert all(isinstance(block.mlp.gelu, open_clip.transformer.QuickGELU) for block in blocks)
    assert not any(isinstance(m, nn.GELU) for m in model.modules())


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", OPENAI_ENCODERS)
def test_paper_architecture_loads_from_every_format(tmp_path, name):
    config = open_clip.get_model_config(f"{open_clip_name(name)}-quickgelu")
    model = rounded_like_openai(build(config))
    size = config["vision_cfg"]["image_size"]
    expected = logits(model, size, 77, count=1)
    for kind in ("safetensors", "state dict", "torchscript"):
        path = _save(model, config, tmp_path, kind)
        with pytest.raises(UserError, match="contradictory"):
            load_encoder(f"{open_clip_name(name)}-quickgelu", path, "gelu")
        encoder = load_encoder(name, path, None if kind == "torchscript" else "quickgelu")
        assert encoder.image_size == size
        assert built_activations(encoder.model) == {"quickgelu"}
        assert (logits(encoder.model, size, 77, count=1) - expected).abs().max() < 1e-5
        del encoder
        (tmp_path / path).unlink()


def test_a_local_file_of_a_built_in_architecture_has_the_preprocessing_that_all_its_published_weights_share(tmp_path):
    (file := tmp_path / "weights.safetensors").touch()
    shared, several = {}, 0
    for name in open_clip.list_models():
        tags = open_clip.list_pretrained_tags_by_model(name)
        published = [find_blueprint(name, tag).preprocess for tag in tags]
        local = find_blueprint(name, str(file)).preprocess
        if published and all(one == published[0] for one in published):
            shared[name] = local
            assert local == published[0]
        else:
            several += 1
            assert local == preprocessing({})
    siglip = shared["ViT-B-16-SigLIP"]
    assert (siglip["mean"], siglip["resize_mode"]) == ((0.5, 0.5, 0.5), "squash")
    assert shared["PE-Core-T-16-384"]["interpolation"] == "bilinear"
    assert several > 0
