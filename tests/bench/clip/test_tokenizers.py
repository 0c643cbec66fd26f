"""Each kind of tokenizer, from files made here; transformers, which is optional, has a stand-in where that will do."""

import json
import sys
import types

import open_clip
import pytest
import torch

from bench.clip.encoders import load_encoder
from bench.clip.tokenizers import load_tokenizer
from datamodules.errors import UserError
from tests.support.checkpoints import TEXT, VIT, build, save_safetensors, write_config

PROMPTS = ["a cat", "a dog at sea"]


class WordTokenizer:
    """Numbers words by their length, as transformers' tokenizers are called."""

    def __init__(self, source, options):
        self.source, self.options = source, options

    def __call__(self, texts, max_length, **_):
        rows = [[1, *map(len, text.split()), 2] for text in texts]
        padded = torch.tensor([row + [0] * (max_length - len(row)) for row in rows])
        return types.SimpleNamespace(input_ids=padded)

    batch_encode_plus = __call__


@pytest.fixture
def transformers(monkeypatch):
    """A stand-in that loads any folder that exists."""
    asked = []

    def from_pretrained(source, cache_dir=None, **options):
        asked.append((str(source), options))
        if "/" not in str(source):
            raise OSError(f"{source} is not a local folder\nand could not be reached")
        return WordTokenizer(source, options)

    module = types.ModuleType("transformers")
    module.AutoTokenizer = types.SimpleNamespace(from_pretrained=from_pretrained)
    monkeypatch.setitem(sys.modules, "transformers", module)
    return asked


def encoder_with(tmp_path, name="tiny.json", **text):
    config = {**VIT, "text_cfg": {**TEXT, **text}}
    weights = save_safetensors(build(VIT), tmp_path / "w.safetensors")
    return load_encoder(write_config(tmp_path, config, name), weights)


def test_clips_own_tokenizer_is_open_clips():
    tokenizer, length = load_tokenizer({"context_length": 20}, "x")
    assert length == 20
    assert torch.equal(tokenizer(PROMPTS), open_clip.SimpleTokenizer(context_length=20)(PROMPTS))
    assert load_tokenizer({}, "x")[1] == 77
    kept, _ = load_tokenizer({"tokenizer_kwargs": {"clean": "whitespace"}}, "x")
    assert not torch.equal(kept(["A CAT"]), load_tokenizer({}, "x")[0](["A CAT"]))


def test_a_tokenizer_beside_the_configuration_is_found_wherever_the_command_is_called(tmp_path, transformers):
    (tmp_path / "words").mkdir()
    encoder = encoder_with(tmp_path, hf_tokenizer_name="words")
    assert transformers == [(str(tmp_path / "words"), {"trust_remote_code": False})]
    assert encoder.tokenizer(PROMPTS)[:, :6].tolist() == [[1, 1, 3, 2, 0, 0], [1, 1, 3, 2, 3, 2]]
    assert encoder.context_length == 20


@pytest.mark.usefixtures("transformers")
def test_a_tokenizer_that_is_nowhere_is_said_to_be():
    with pytest.raises(UserError, match=r"'nowhere' is neither a folder .*: check the name") as error:
        load_tokenizer({"hf_tokenizer_name": "nowhere"}, "x")
    assert "\n" not in str(error.value)


def test_without_transformers_the_package_is_named_and_not_the_network(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="pip install transformers") as error:
        load_tokenizer({"hf_tokenizer_name": "a/b"}, "x")
    assert "network" not in str(error.value)


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("option", ["trust_remote_code", "bpe_path", "cache_dir", "subfolder"])
@pytest.mark.parametrize("name", [None, "a/b"])
def test_a_configuration_cannot_ask_for_code_or_files(option, name):
    with pytest.raises(UserError, match=rf"tokenizer_kwargs {option}: only .*clean.* are allowed"):
        load_tokenizer({"hf_tokenizer_name": name, "tokenizer_kwargs": {option: True}}, "x")


def test_hub_and_built_in_encoders_take_the_same_way(monkeypatch, tmp_path, transformers):
    config = {**VIT, "text_cfg": {**TEXT, "hf_tokenizer_name": "someone/words"}}
    path = write_config(tmp_path, {"model_cfg": config}, "hub.json")
    weights = save_safetensors(build(VIT), tmp_path / "w.safetensors")
    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", lambda **_: path)
    assert load_encoder("hf-hub:someone/clip", weights).context_length == 20
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32", json.loads(json.dumps(config)))
    load_encoder("ViT-B-32", weights, "quickgelu")
    assert [source for source, _ in transformers] == ["someone/words"] * 2


def test_every_built_in_siglip_names_its_tokenizer():
    """open_clip guesses a tokenizer from a name with "siglip" in it where the configuration names none."""
    for name in open_clip.list_models():
        if "siglip" in name.lower():
            assert open_clip.get_model_config(name)["text_cfg"].get("hf_tokenizer_name"), name


def test_a_tokenizer_of_transformers_reads_its_own_files(tmp_path):
    transformers = pytest.importorskip("transformers", reason="optional: needed by SigLIP and multilingual encoders")
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[PAD]": 0, "[UNK]": 1, "a": 2, "cat": 3, "dog": 4}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        tmp_path / "words"
    )
    encoder = encoder_with(tmp_path, hf_tokenizer_name="words")
    assert encoder.tokenizer(PROMPTS)[:, :5].tolist() == [[2, 3, 0, 0, 0], [2, 4, 1, 1, 0]]
