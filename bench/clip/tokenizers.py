"""Tokenizers, from what an encoder's configuration says about them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from bench.clip.weights import one_line
from datamodules.errors import UserError

Tokenizer = Callable[[Sequence[str]], Tensor]

_CONTEXT_LENGTH = 77  # open_clip's default
_OWN_OPTIONS = {"additional_special_tokens", "clean", "reduction_mask"}
_OPTIONS = {"clean", "strip_sep_token", "language"}  # none that would fetch or run a repository's code


def load_tokenizer(text: Mapping[str, Any], encoder: str) -> tuple[Tokenizer, int]:
    """Load the tokenizer of an encoder, and the number of tokens per prompt, start and end included.

    Args:
        text: The part `text_cfg` of open_clip's configuration. `hf_tokenizer_name` names a folder or a repository;
            without, the tokenizer is CLIP's own.
        encoder: For messages.

    Raises:
        UserError: An option is not allowed, or the tokenizer needs a package, a file or a network that is not there.
    """
    name, options = text.get("hf_tokenizer_name"), dict(text.get("tokenizer_kwargs") or {})
    length = text.get("context_length", _CONTEXT_LENGTH)
    known = _OPTIONS if name else _OWN_OPTIONS
    if strange := sorted(set(options) - known):
        raise UserError(
            f"encoder {encoder} has tokenizer_kwargs {', '.join(strange)}: only {', '.join(sorted(known))} are allowed"
        )
    try:
        if name:
            from open_clip.tokenizer import HFTokenizer

            mode = text.get("tokenizer_mode")
            # left open, transformers asks on the terminal whether it may run the repository's own code
            made = HFTokenizer(name, length, tokenizer_mode=mode, trust_remote_code=False, **options)
        else:
            from open_clip import SimpleTokenizer

            made = SimpleTokenizer(context_length=length, **options)
    except ImportError as error:
        raise UserError(
            f"encoder {encoder} cannot tokenise prompts ({one_line(error)}): pip install transformers sentencepiece"
        ) from error
    except OSError as error:  # what transformers and the hub raise where nothing is found
        raise UserError(
            f"encoder {encoder}'s tokenizer {name!r} is neither a folder nor can it be downloaded ({one_line(error)}): "
            "check the name and the network"
        ) from error
    except Exception as error:
        raise UserError(f"encoder {encoder}'s tokenizer cannot be loaded ({one_line(error)})") from error
    return made, length
