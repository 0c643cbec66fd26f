"""Do maps depend on what the model has learned? The model-randomisation check of Adebayo et al. (2018).

"Sanity checks for saliency maps" (NeurIPS 2018), section 3: the network loses what it learned from its top downwards,
and a map that hardly changes does not explain the model. There parameters are initialised anew; here each one's values
are shuffled, so that activations keep about their scale and every tower can be treated alike.
"""

import copy
from collections.abc import Iterator

import torch
from scipy.stats import rankdata
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from bench.attribution.explainer import for_gradients
from bench.clip.towers import image_tower, residual_blocks
from bench.clip.zero_shot import ZeroShotClassifier
from datamodules.errors import UserError

_MARGIN = 5  # on each side of a pixel, of SSIM's window


def cascade(classifier: ZeroShotClassifier, seed: int = 0) -> Iterator[tuple[str, ZeroShotClassifier]]:
    """Classifiers whose image tower is randomised further and further, from the embedding down to the pixels.

    The class embeddings and the scale of the logits stay as they are.

    Args:
        classifier: Stays as it is.
        seed: Of the shuffles.

    Yields:
        What was randomised last: "head", the residual blocks from the last to the first, "stem"; and the classifier,
        which the next step changes.

    Raises:
        UserError: The order of the image tower's blocks is not known.
    """
    blocks = residual_blocks(image_tower(classifier.model))
    if blocks is None:
        raise UserError(
            "the order of this image tower's blocks is not known: choose a ViT of open_clip or a CLIP ResNet"
        )
    folded = for_gradients(classifier)
    model = copy.deepcopy(folded) if folded is classifier else folded
    generator = torch.Generator().manual_seed(seed)
    left = dict(image_tower(model.model).named_parameters())
    stages = [
        ("head", blocks.head),
        *((name.rstrip("."), (name,)) for name in reversed(blocks.residual)),
        ("stem", ("",)),
    ]
    for stage, beginnings in stages:
        for name in [name for name in left if name.startswith(beginnings)]:
            _shuffle(left.pop(name), generator)
        yield stage, model


@torch.no_grad()
def _shuffle(parameter: Tensor, generator: torch.Generator) -> None:
    order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
    parameter.copy_(parameter.flatten()[order].view(parameter.shape))


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Spearman's rank correlation of each map with another one, float64 [B] in [-1, 1]; NaN where one is constant.

    Args:
        maps: float [B, U].
        others: Of the same shape.

    >>> rank_correlation(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 5.0, 4.0]])).tolist()
    [0.5]
    """
    ranks = [torch.from_numpy(rankdata(values.cpu().numpy(), axis=1)) for values in (maps, others)]
    first, second = (values - values.mean(1, keepdim=True) for values in ranks)
    return (first * second).sum(1) / (first.square().sum(1) * second.square().sum(1)).sqrt()


def structural_similarity(maps: Tensor, others: Tensor) -> Tensor:
    """SSIM of what maps look like, in absolute value and from 0 to the largest one: float [B], up to 1.

    With the Gaussian window of 11 pixels of Wang et al. (2004), the mean over all places where it fits.

    Args:
        maps: float [B, H, W], of at least 11 x 11 pixels.
        others: Of the same shape.
    """
    first, second = (_picture(values) for values in (maps, others))
    _, places = structural_similarity_index_measure(first, second, data_range=1.0, return_full_image=True)
    return places[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].mean((1, 2, 3))


def _picture(maps: Tensor) -> Tensor:
    strength = maps.double().abs()
    largest = strength.flatten(1).amax(1).view(-1, 1, 1)
    return (strength / largest.where(largest > 0, 1))[:, None]
