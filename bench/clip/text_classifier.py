"""The text classifier: prompts become one unit embedding per class, each prompt no longer than it has to be."""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bench.clip.encoders import Encoder
from bench.clip.text_towers import embed_tokens, pooled_positions
from bench.paper import TEMPLATE
from datamodules.errors import UserError
from datamodules.text import printable

Watch = Callable[[int, int], None]
"""Is told how many prompts are done, and of how many."""

_TOKENISED_AT_ONCE = 4096  # prompts
_TOKENS_PER_PASS = {"cpu": 2**11}  # more would leave the caches: `python -m benchmarks.text_classifier`
_TOKENS_PER_PASS_ELSEWHERE = 2**15


def text_classifier(
    encoder: Encoder, class_names: Sequence[str], templates: Sequence[str], watch: Watch | None = None
) -> Tensor:
    """Unit embedding of each class: the normalised mean over templates of normalised text embeddings.

    The prompt ensemble of Radford et al. (2021), section 3.1.4. Prompts go through the text tower sorted by length, and
    where nothing behind a prompt's end token can matter (`bench.clip.text_towers`), without the padding behind the
    longest of a pass.

    Args:
        encoder: The CLIP that embeds the prompts.
        class_names: What to put in the place of "{}", C distinct names.
        templates: Prompts with "{}" where the class name goes.
        watch: Is told about the progress after each pass.

    Returns:
        float32 [C, D] on the model's device, rows of length 1.

    Raises:
        UserError: no or repeated class names, no templates, or a template without a single "{}".
    """
    check_prompts(class_names, templates)
    prompts = prompts_of(class_names, templates)
    tokens = tokenise(encoder, prompts, watch)
    warn_if_cut(encoder, prompts, *cut_prompts(encoder, prompts, tokens))
    return from_tokens(encoder, tokens, len(class_names), watch)


def prompts_of(class_names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every template with every class name, those of one class side by side.

    >>> prompts_of(["cat", "dog"], ["a {}.", "the {}."])
    ['a cat.', 'the cat.', 'a dog.', 'the dog.']
    """
    return [template.replace("{}", name) for name in class_names for template in templates]


def tokenise(encoder: Encoder, prompts: Sequence[str], watch: Watch | None = None) -> Tensor:
    """Token ids, int64 [N, context_length], in host memory; `watch` is told that no prompt is done yet."""
    parts = []
    for start in range(0, len(prompts), _TOKENISED_AT_ONCE):
        if watch is not None:
            watch(0, len(prompts))
        parts.append(encoder.tokenizer(prompts[start : start + _TOKENISED_AT_ONCE]))
    return torch.cat(parts)


def from_tokens(encoder: Encoder, tokens: Tensor, classes: int, watch: Watch | None = None) -> Tensor:
    """The text classifier of tokenised prompts; see `text_classifier`.

    Args:
        encoder: The CLIP.
        tokens: int64 [C * T, context_length], those of one class side by side.
        classes: C.
        watch: Is told about the progress.
    """
    model = encoder.model
    device = next(model.parameters()).device
    positions = pooled_positions(model, tokens)
    lengths = None if positions is None else positions + 1
    order = torch.arange(len(tokens)) if lengths is None else torch.argsort(lengths, stable=True)
    most = _TOKENS_PER_PASS.get(device.type, _TOKENS_PER_PASS_ELSEWHERE)
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        parts, done = [], 0
        while done < len(tokens):
            length = tokens.shape[1] if lengths is None else int(lengths[order[done]])
            chosen = order[done : done + max(1, most // length)]
            longest = None if lengths is None else int(lengths[chosen].max())
            parts.append(embed_tokens(model, tokens[chosen].to(device), longest))
            done += len(chosen)
            if watch is not None:
                watch(done, len(tokens))
        in_order = torch.cat(parts)
        embeddings = torch.empty_like(in_order)
        embeddings[order.to(device)] = in_order
        means: Tensor = embeddings.view(classes, len(tokens) // classes, -1).mean(dim=1)
        return functional.normalize(means, dim=1)


def check_prompts(class_names: Sequence[str], templates: Sequence[str]) -> None:
    """Refuse class names and templates that make no classifier.

    Raises:
        UserError: There are no class names, one occurs twice, or the templates are unusable.
    """
    if not class_names:
        raise UserError("there are no class names: give at least one")
    name, count = Counter(class_names).most_common(1)[0]
    if count > 1:
        raise UserError(f"class name {name!r} occurs {count} times: every class needs its own name")
    check_templates(templates)


def check_templates(templates: Sequence[str]) -> None:
    """Refuse prompts that have no single place for the class name.

    Raises:
        UserError: There are no templates, or one lacks "{}" or has it twice.
    """
    if not templates:
        raise UserError(f"there are no templates: give at least one, such as {TEMPLATE!r}")
    for template in templates:
        if template.count("{}") != 1:
            raise UserError(f"template {template!r} must contain '{{}}' once, where the class name goes")


def cut_prompts(encoder: Encoder, prompts: Sequence[str], tokens: Tensor) -> tuple[int, int]:
    """How many prompts the tokenizer has cut, and the position of the first of them.

    Those whose last place is taken are looked at again: CLIP's own tokenizer fills up with zeros, and does not say what
    it cuts.
    """
    encode = getattr(encoder.tokenizer, "encode", None)
    if encode is None:
        return 0, 0
    full = tokens[:, -1].nonzero().flatten().tolist()
    cut = [index for index in full if len(encode(prompts[index])) + 2 > encoder.context_length]
    return len(cut), cut[0] if cut else 0


def warn_if_cut(encoder: Encoder, prompts: Sequence[str], count: int, first: int) -> None:
    """Say that prompts were cut, by which two classes may become one."""
    if count:
        warnings.warn(
            f"{count} of {len(prompts)} prompts exceed the encoder's {encoder.context_length} tokens and are cut,"
            f" first {printable(prompts[first])!r}",
            stacklevel=3,
        )
