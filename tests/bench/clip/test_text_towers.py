import json
import warnings

import open_clip
import pytest
import torch
from torch import nn

from bench.clip.text_towers import embed_tokens, pooled_positions
from tests.support.checkpoints import VIT

TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
PROMPTS = ["cat", "a photo of a long-haired cat on a mat", "", "an image of two dogs", "word " * 40]
MULTIMODAL = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


def build(kind, **text):
    config = {**json.loads(json.dumps(VIT)), "text_cfg": {**TEXT, **text}}
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        further = {"multimodal_cfg": MULTIMODAL} if kind is open_clip.CoCa else {}
        model = kind(**config, **further).eval().requires_grad_(False)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, 0.5, 0.3)
    return model


def tokens():
    return open_clip.SimpleTokenizer(context_length=20)(PROMPTS)


CUT = {
    "CLIP": (open_clip.CLIP, {}),
    "CLIP that pools the end token": (open_clip.CLIP, {"pool_type": "eos", "eos_id": 49407}),
    "CLIP with a biased projection": (open_clip.CLIP, {"proj_bias": True}),
    "text tower of its own": (open_clip.CustomTextCLIP, {}),
    "text tower of its own that pools the end token": (open_clip.CustomTextCLIP, {"pool_type": "eos", "eos_id": 49407}),
}
WHOLE = {
    "SigLIP": (open_clip.CustomTextCLIP, {"no_causal_mask": True, "pool_type": "last"}),
    "CLIPA": (open_clip.CLIP, {"no_causal_mask": True, "pool_type": "last"}),
    "both ways": (open_clip.CLIP, {"no_causal_mask": True}),
    "masked padding": (open_clip.CustomTextCLIP, {"no_causal_mask": True, "use_pad_mask": True}),
    "last position": (open_clip.CLIP, {"pool_type": "last"}),
    "first position": (open_clip.CLIP, {"pool_type": "first"}),
    "CoCa": (open_clip.CoCa, {"embed_cls": True, "output_tokens": True}),
    "blocks of another kind": (open_clip.CLIP, {"scale_attn": True}),
}


def options(text):
    return {name: value for name, value in text.items() if name != "use_pad_mask"}


@pytest.mark.parametrize("name", CUT)
def test_what_follows_the_end_token_cannot_matter_to_a_causal_tower(name):
    kind, text = CUT[name]
    model, ids = build(kind, **text), tokens()
    assert pooled_positions(model, ids).tolist() == [2, 12, 1, 6, 19]
    whole = model.encode_text(ids, normalize=True)
    for length, which in ((3, [0, 2]), (7, [0, 2, 3]), (13, [0, 1, 2, 3]), (20, [0, 1, 2, 3, 4])):
        assert (embed_tokens(model, ids[which], length) - whole[which]).abs().max() < 1e-6
    assert (embed_tokens(model, ids[[1]], 6) - whole[[1]]).abs().max() > 1e-4  # the comparison sees a cut prompt
    assert torch.equal(model.encode_text(ids, normalize=True), whole)  # the model is as it was


@pytest.mark.parametrize("name", WHOLE)
def test_a_tower_that_is_not_known_to_be_causal_is_given_every_token(name):
    kind, text = WHOLE[name]
    model, ids = build(kind, **options(text)), tokens()
    if "use_pad_mask" in text:
        model.text.use_pad_mask = True
    assert pooled_positions(model, ids) is None
    assert torch.equal(embed_tokens(model, ids), model.encode_text(ids, normalize=True))


def test_towers_of_other_libraries_and_changed_masks_are_given_every_token():
    class Foreign(open_clip.transformer.TextTransformer):
        pass

    model, ids = build(open_clip.CustomTextCLIP), tokens()
    model.text.__class__ = Foreign
    assert pooled_positions(model, ids) is None
    model = build(open_clip.CLIP)
    model.attn_mask[0, 5] = 0
    assert pooled_positions(model, ids) is None


@pytest.mark.parametrize("name", ["SigLIP", "last position", "CoCa"])
def test_padding_matters_where_nothing_is_cut(name):
    kind, text = WHOLE[name]
    model, ids = build(kind, **options(text)), tokens()[:1]
    other = ids.clone()
    other[0, 3:] = 320
    assert (embed_tokens(model, ids) - embed_tokens(model, other)).abs().max() > 1e-4
