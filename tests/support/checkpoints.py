"""Small CLIPs and checkpoints of them in every accepted format, shaped like the real ones."""

import json
import warnings
from pathlib import Path

import open_clip
import torch
from open_clip.model import convert_weights_to_lp
from safetensors.torch import save_file
from torch import Tensor, nn

TEXT = {"context_length": 20, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
VIT = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": TEXT,
}
RESNET = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "text_cfg": TEXT,
}


class _OpenAI(open_clip.CLIP):
    """OpenAI's archives carry three integers in their state dict."""

    def __init__(self, **config):
        super().__init__(**config)
        integers = {
            "input_resolution": config["vision_cfg"]["image_size"],
            "context_length": self.context_length,
            "vocab_size": self.vocab_size,
        }
        del self.context_length, self.vocab_size
        for name, value in integers.items():
            self.register_buffer(name, torch.tensor(value))


def build(config: dict, seed: int = 0) -> nn.Module:
    """open_clip's model for a configuration, with reproducible weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return open_clip.CLIP(**json.loads(json.dumps(config))).eval().requires_grad_(False)


def write_config(folder: Path, config: dict, name: str = "tiny.json") -> str:
    path = folder / name
    path.write_text(json.dumps(config))
    return str(path)


def save_safetensors(model: nn.Module, path: Path, **metadata: str) -> str:
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path, metadata or None)
    return str(path)


def save_torchscript(model: nn.Module, config: dict, path: Path) -> str:
    """Trace the model and save it as OpenAI did, most of its weights in half precision."""
    traced_model = _OpenAI(**json.loads(json.dumps(config))).eval()
    traced_model.load_state_dict(model.state_dict(), strict=False)
    size = config["vision_cfg"]["image_size"]
    image = torch.ones(1, 3, size, size)
    text = torch.zeros(1, config["text_cfg"]["context_length"], dtype=torch.int)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, the files that were made with it are not
        traced = torch.jit.trace(traced_model, (image, text), check_trace=False)
        convert_weights_to_lp(traced_model)  # shares its parameters; tracing in half precision takes minutes on a CPU
        torch.jit.save(traced, path)
    return str(path)


def rounded_like_openai(model: nn.Module) -> nn.Module:
    """The model with its weights rounded to the half precision that OpenAI's archives are stored in."""
    convert_weights_to_lp(model)
    return model.float()


def logits(model: nn.Module, size: int, context_length: int, count: int = 4) -> Tensor:
    """open_clip's own logits of `count` fixed images and three fixed prompts."""
    images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    text = open_clip.SimpleTokenizer(context_length=context_length)(["a cat", "a dog", "a ship at sea"])
    with torch.no_grad():
        return model.get_logits(images, text)[0]
