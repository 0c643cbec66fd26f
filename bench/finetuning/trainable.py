"""Which parameters of the image tower learn; everything else of the model is frozen."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.adapters.low_rank import LowRank
from bench.clip.towers import Blocks, residual_blocks
from datamodules.errors import UserError

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


class Trainable(ABC):
    """Which parameters of the image tower a fit changes."""

    @abstractmethod
    def release(self, tower: nn.Module) -> frozenset[str]:
        """Let the chosen parameters of a frozen image tower learn.

        Returns:
            Names in the tower's state dict of the weights that may change.

        Raises:
            UserError: The tower has no such parameters.
        """


@dataclass(frozen=True)
class WholeTower(Trainable):
    """Every parameter of the image tower."""

    def release(self, tower: nn.Module) -> frozenset[str]:
        return _release(tower, (name for name, _ in tower.named_parameters()), "the image tower")


@dataclass(frozen=True)
class LastBlocks(Trainable):
    """The last residual blocks of the image tower and what follows them, the projection included.

    Attributes:
        blocks: Their number, at least 1.
    """

    blocks: int = 1

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise UserError(f"LastBlocks(blocks={self.blocks}): release at least 1")

    def release(self, tower: nn.Module) -> frozenset[str]:
        blocks, head = _residual_blocks(tower)
        if self.blocks > len(blocks):
            raise UserError(f"LastBlocks(blocks={self.blocks}): the image tower has {len(blocks)}, choose at most that")
        prefixes = (*blocks[len(blocks) - self.blocks :], *head)
        names = (name for name, _ in tower.named_parameters() if name.startswith(prefixes))
        return _release(tower, names, "the last blocks")


@dataclass(frozen=True)
class Norms(Trainable):
    """Gains and biases of the normalisation layers; their statistics stay as they are."""

    def release(self, tower: nn.Module) -> frozenset[str]:
        return _release(tower, iter(norm_parameters(tower)), "the normalisation layers")


@dataclass(frozen=True)
class LoRA(Trainable):
    """Low-rank updates of matrices and kernels (Hu et al., 2022, arXiv 2106.09685): W + scale / rank * B A.

    A parametrisation of the weights themselves, since open_clip's attention hands its weights to a function: adapters
    that wrap a layer, such as peft's, are never called by the attention pool of CLIP's ResNet and would learn nothing.
    A kernel [out, in, h, w] is taken as the matrix [out, in * h * w]. A starts at random, B at 0, so training starts at
    the original; exported weights have the update added in.

    Attributes:
        rank: At least 1; a smaller matrix gets its own full rank.
        scale: Above 0, what papers call alpha.
        targets: Patterns as of file names; a matrix whose name fits one of them learns.
    """

    rank: int = 8
    scale: float = 16.0
    targets: Sequence[str] = ("*",)

    def __post_init__(self) -> None:
        for name, fits in [("rank", self.rank >= 1), ("scale", self.scale > 0)]:
            if not fits:
                raise UserError(f"LoRA({name}={getattr(self, name)}) is out of range: choose a larger one")

    def release(self, tower: nn.Module) -> frozenset[str]:
        chosen = [
            (name, module, own)
            for name, module, own in matrices(tower)
            if any(fnmatchcase(name, target) for target in self.targets)
        ]
        if not chosen:
            raise UserError(
                f"LoRA(targets={list(self.targets)}) fits no matrix of the image tower, the first are "
                f"{', '.join(name for name, _, _ in list(matrices(tower))[:4])}: correct the patterns"
            )
        for _, module, own in chosen:
            weight = getattr(module, own)
            parametrize.register_parametrization(module, own, LowRank(weight, self.rank, self.scale))
            # registering releases the weight again
            module.parametrizations[own].original.requires_grad_(False)  # type: ignore[index,union-attr]
        return frozenset(name for name, _, _ in chosen)


def norm_parameters(tower: nn.Module) -> list[str]:
    """Names of the gains and biases of the normalisation layers.

    >>> norm_parameters(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    ['1.weight', '1.bias']
    """
    layers = [(name, module) for name, module in tower.named_modules() if isinstance(module, _NORMS)]
    return [f"{layer}.{name}" for layer, module in layers for name, _ in module.named_parameters()]


def matrices(tower: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Weights that multiply features: full name, module, name in the module; embeddings of places are none.

    >>> [name for name, _, _ in matrices(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))]
    ['0.weight']
    """
    for prefix, module in tower.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            if parameter.ndim >= 2 and not own.endswith("embedding"):
                yield f"{prefix}.{own}" if prefix else own, module, own


def merged_state(tower: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict with the names of an ordinary tower: weights hold what parametrisations add to them."""
    state = {name: tensor for name, tensor in tower.state_dict().items() if ".parametrizations." not in f".{name}"}
    for prefix, module in tower.named_modules():
        if parametrize.is_parametrized(module):
            for own in module.parametrizations:
                state[f"{prefix}.{own}" if prefix else own] = getattr(module, own)
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _release(tower: nn.Module, names: Iterator[str], what: str) -> frozenset[str]:
    chosen = frozenset(names)
    if not chosen:
        raise UserError(
            f"the image tower has no parameters in {what}: choose another `trainable`", option="model.trainable"
        )
    for name in chosen:
        tower.get_parameter(name).requires_grad_(True)
    return chosen


def _residual_blocks(tower: nn.Module) -> Blocks:
    if (blocks := residual_blocks(tower)) is None:
        raise UserError(
            f"LastBlocks does not know the order of blocks in {type(tower).__name__}: choose another `trainable`",
            option="model.trainable",
        )
    return blocks
