"""What every data set shares: views, subsets, sharding, loaders, and what to do about unreadable images."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Literal

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from datamodules.cores import usable_cores
from datamodules.dataset import Comparison, DegradedViews
from datamodules.degradations import DEFAULT_DEGRADATIONS, ORIGINAL, load_tables, parse_all, table_hashes
from datamodules.errors import UserError
from datamodules.geometry import Geometry
from datamodules.loading import WatchedLoader
from datamodules.opening import check_classes, check_views, say_what_is_left_out, say_what_is_odd
from datamodules.sampler import ExactDistributedSampler
from datamodules.selection import Selection, require_at_least, shuffled
from datamodules.sources import Source
from datamodules.training import EpochSampler, RandomPairs, TrainingViews
from datamodules.views import Batch, Unreadable

HELD_OUT_EVERY = 10
"""Of how many images of the train split fitting holds out one, by default."""

_MOST_WORKERS = 8  # decoding and encoding small images keeps one GPU busy with fewer


class DegradedDataModule(LightningDataModule):
    """Loaders of `Batch`es over one split of a data set; a subclass says where the images come from: see `source`.

    Testing and predicting use the chosen split, whole, in order, every sample once under any number of processes.
    Fitting always uses the train split: every k-th image of it is held out for validation.

    Args:
        split: The split that is tested or predicted, one of `splits`.
        degradations: Views by specification, or a single one; `original` is always among them, first.
        tables: Files of JPEG tables, or a single one, as `lightning tables` writes them; the view of one is
            `jpeg-tables-NAME-SCALE`.
        batch_size: Images per batch and process; each brings all its views.
        num_workers: Loader processes per process; None takes the usable cores, shared among the processes of this
            machine, at most 8.
        prefetch: Batches that each loader process makes ahead.
        limit: Use only the first so many images (after `every` or `indices`).
        every: Use only every n-th image.
        indices: Use only these positions of the split.
        on_error: Whether an unreadable image ends the run ("raise") or is left out and listed ("skip").
        patience: Seconds after which a loader process that is still at one image is given up as if it had died, which
            is what `on_error` decides about, too.
        validation_every: Fitting holds out every n-th image of the train split, at least 2.
        training_views: What each training image is degraded with at random (`codecs`, `law`, `clean`, `flip` and
            `curriculum` of `datamodules.training.TrainingViews`); without, fitting sees the same views as validation.
        seed: Seed of the shuffling of training images and of their random views, which also depend on the epoch; at
            least 0.

    Attributes:
        selection: Which images of a split are used.
        done: Positions in the split that testing and predicting leave out, because an interrupted run went through
            them; to be set before the loader is made.
        order_seed: Seed of the order in which testing and predicting go through the images; None takes them as they are
            chosen. To be set as `done`.
        geometry: What an encoder makes of an image's size. With it, larger views are shrunk where they are made, and
            batches are uniform; without, every view is handed on at its native size. To be set as `done`.
        compare: What measures the fidelity of views that are shrunk, before they are; None measures nothing. To be set
            as `done`.
        unreadable: Images that this process could not read since `setup`, by position in the split in use.

    Raises:
        UserError: An argument is out of range.
    """

    dataset_name: ClassVar[str]
    """What records call the data set; the class's name where a subclass does not say."""

    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    """Splits that can be asked for."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "dataset_name"):
            cls.dataset_name = cls.__name__

    def __init__(
        self,
        split: str = "test",
        degradations: Sequence[str] | str = DEFAULT_DEGRADATIONS,
        tables: Sequence[str] | str = (),
        batch_size: int = 128,
        num_workers: int | None = None,
        prefetch: int = 2,
        limit: int | None = None,
        every: int = 1,
        indices: Sequence[int] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        patience: float = 600,
        validation_every: int = HELD_OUT_EVERY,
        training_views: TrainingViews | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for file in [tables] if isinstance(tables, str) else tables:
            load_tables(file)
        if training_views is not None:
            training_views.require()
        self.degradations = parse_all(degradations)
        self.selection = Selection(limit, every, indices)
        require_at_least(0, num_workers=num_workers)
        require_at_least(1, batch_size=batch_size, prefetch=prefetch, patience=patience)
        require_at_least(2, validation_every=validation_every)
        if not 0 <= seed < 2**63:  # as torch has them, with room for the epoch
            raise UserError(f"`seed` {seed} is out of range: choose 0 to 2**63 - 1", option="data.seed")
        for name, word, choices in [("split", split, self.splits), ("on_error", on_error, ("raise", "skip"))]:
            if word not in choices:
                raise UserError(f"`{name}` {word!r} is unknown: choose {' or '.join(choices)}", option=f"data.{name}")
        self.split, self.batch_size, self.on_error = split, batch_size, on_error
        self.num_workers, self.prefetch, self.patience = num_workers, prefetch, patience
        self.validation_every, self.seed = validation_every, seed
        self.training_views = training_views
        self.done: Collection[int] = frozenset()
        self.order_seed: int | None = None
        self.geometry: Geometry | None = None
        self.compare: Comparison | None = None
        self.unreadable: dict[int, Unreadable] = {}
        self._sources: dict[str, Source] = {}
        self._contents: dict[str, str] = {}
        self._current = split

    @abstractmethod
    def source(self, split: str) -> Source:
        """Open a split: the one thing that a subclass has to say. Called once per split and process.

        Args:
            split: "train" when fitting; otherwise the split that is tested or predicted.

        Raises:
            UserError: The split cannot be had.
        """

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views, `original` first."""
        return tuple(degradation.name for degradation in self.degradations)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Candidate classes as they are put into the prompt; labels are indices into them."""
        return self._sources[self._current].classes

    @property
    def templates(self) -> tuple[str, ...]:
        """Prompts that belong to the data set, with "{}" in the place of the class name; none where none are known."""
        return self._sources[self._current].templates

    @property
    def labelled(self) -> bool:
        """Whether every image has a label."""
        return self._sources[self._current].labelled

    @property
    def content(self) -> str:
        """Digest of the images and labels of the split in use; see `datamodules.sources.Source.content`."""
        if self._current not in self._contents:
            self._contents[self._current] = self._sources[self._current].content()
        return self._contents[self._current]

    def describe(self) -> dict[str, Any]:
        """What a result record says about the data: JSON-able."""
        source = self._sources[self._current]
        tables = table_hashes(self.degradations)
        return {
            "name": self.dataset_name,
            "split": self._current,
            "content": self.content,
            "images_in_split": len(source),
            "images_selected": len(self.selection.of(len(source))),
            **self.selection.describe(),
            "views": list(self.views),
            "class_names": list(source.classes),
            "lossy_source_formats": list(source.already_lossy().formats),
            **({"tables": tables} if tables else {}),
        }

    def incomplete(self) -> bool:
        """Whether `prepare_data` will download."""
        return False

    @property
    def found(self) -> bool:
        """Whether the images of a split have been found: whether `setup` has been called."""
        return bool(self._sources)

    def setup(self, stage: str) -> None:
        """Open the split that a stage needs, unless it is open already."""
        self._current = "train" if stage in ("fit", "validate") else self.split
        self.unreadable = {}
        if self._current not in self._sources:
            self._sources[self._current] = self._open(self._current)
        if stage != "predict" and not self.labelled:
            raise UserError("the images have no labels, so they can only be predicted: use `lightning predict`")

    def _open(self, split: str) -> Source:
        source = self.source(split)
        check_views(source, self.degradations)
        check_classes(source, split)
        say_what_is_odd(source, split)
        say_what_is_left_out(source, self.selection, split)
        return source

    @property
    def training_positions(self) -> Sequence[int]:
        """Positions in the train split of the images to fit on: the chosen ones without the held-out part."""
        chosen = self.selection.of(len(self._sources["train"]))
        return [index for position, index in enumerate(chosen) if position % self.validation_every]

    @property
    def validation_positions(self) -> Sequence[int]:
        """Positions in the train split of the held-out images."""
        return self.selection.of(len(self._sources["train"]))[:: self.validation_every]

    def training_labels(self, unreadable: Collection[int] = frozenset()) -> Counter[str]:
        """Number of images to fit on by class name.

        Args:
            unreadable: Positions in the train split that turned out to be unreadable, on whatever process (the keys of
                `unreadable`), and are not counted.
        """
        source = self._sources["train"]
        positions = (index for index in self.training_positions if index not in unreadable)
        return Counter(source.classes[source.label(index)] for index in positions)

    def train_dataloader(self) -> DataLoader[Batch]:
        """The train split without its held-out part, shuffled; with `training_views`, original and random view."""
        source, kept = self._sources["train"], self.training_positions
        if not kept:
            raise UserError(
                "one chosen image leaves none to fit on beside the held-out one: raise `limit`", option="data.limit"
            )
        if self.training_views is None:
            dataset, shuffled_by = self._dataset(source, kept), DistributedSampler[int]
        else:
            dataset = RandomPairs(source, self.training_views, kept, self.seed, self.geometry)
            shuffled_by = EpochSampler
        sampler = shuffled_by(dataset, *self._place(), shuffle=True, seed=self.seed)
        return self._loader(dataset, sampler, several_passes=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The held-out part of the train split."""
        return self._exact_loader(self._sources["train"], self.validation_positions, several_passes=True)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The chosen images of the chosen split, each once."""
        return self._exact_loader(self._sources[self.split], self.order, self.done)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same images as for testing; labels are not needed."""
        return self.test_dataloader()

    @property
    def positions(self) -> Sequence[int]:
        """Positions in the chosen split of the images that a run goes through, in order."""
        return self.selection.of(len(self._sources[self._current]))

    @property
    def order(self) -> Sequence[int]:
        """Positions in the chosen split in the order in which testing and predicting go through them."""
        positions = self.selection.of(len(self._sources[self.split]))
        return positions if self.order_seed is None else shuffled(positions, self.order_seed)

    @property
    def chosen(self) -> Source:
        """The split that a run goes through, once it is set up."""
        return self._sources[self._current]

    def path(self, index: int) -> str | None:
        """Where an image of the chosen split lies, relative to the data root; None if it is no file."""
        return self._sources[self._current].path(index)

    def views_of(
        self, indices: Sequence[int], views: Collection[str] | None = None, geometry: Geometry | None = None
    ) -> DegradedViews:
        """Images of the chosen split once more, by position in it, decoded and degraded afresh.

        Args:
            indices: Positions in the split.
            views: Names of the views wanted besides the original; None takes all.
            geometry: What larger views are fitted to, as for an encoder; None has every view at its native size.
        """
        wanted = [one for one in self.degradations if views is None or one.name in views or one.name == ORIGINAL]
        return DegradedViews(self._sources[self._current], wanted, indices, geometry)

    def _dataset(self, source: Source, indices: Sequence[int]) -> DegradedViews:
        return DegradedViews(source, self.degradations, indices, self.geometry, self.compare)

    def _exact_loader(
        self,
        source: Source,
        indices: Sequence[int],
        done: Collection[int] = frozenset(),
        *,
        several_passes: bool = False,
    ) -> DataLoader[Batch]:
        sampler = ExactDistributedSampler(indices, self.batch_size, *self._place(), done)
        return self._loader(self._dataset(source, indices), sampler, several_passes=several_passes)

    def _place(self) -> tuple[int, int]:
        """World size and rank of this process."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(self, dataset: DegradedViews, sampler: Sampler[int], *, several_passes: bool) -> DataLoader[Any]:
        workers = self.workers
        return WatchedLoader(
            dataset,
            on_error=self.on_error,
            patience=self.patience,
            processes=self._processes(),
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=several_passes and workers > 0,
            prefetch_factor=self.prefetch if workers else None,
            collate_fn=dataset.collate,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    @property
    def workers(self) -> int:
        """Loader processes of this process: `num_workers`, or its share of the usable cores."""
        if self.num_workers is not None:
            return self.num_workers
        return max(1, min(_MOST_WORKERS, usable_cores() // self._processes()))

    def _processes(self) -> int:
        """Processes of this run on this machine."""
        return self.trainer.num_devices if self.trainer else 1

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Decide about the images of a batch that could not be read."""
        for image in batch.unreadable:
            self.leave_out(image)
        return batch

    def leave_out(self, image: Unreadable, purpose: str = "read") -> None:
        """Go on without an image, and remember it, if `on_error` says so.

        Args:
            image: What became of it.
            purpose: What could not be done with it: "read", "exported".

        Raises:
            UserError: `on_error` is "raise".
        """
        if self.on_error == "raise":
            where = image.path if image.path is not None else f"number {image.index}"
            raise UserError(
                f"image {where} cannot be {purpose} ({image.reason}): replace it, or leave such images out with "
                "`on_error='skip'`",
                option="data.on_error",
            )
        self.unreadable[image.index] = image


def degraded_data(trainer: Any) -> DegradedDataModule:
    """The data module of a trainer, which owns class names and views.

    Raises:
        UserError: It is of another kind.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, DegradedDataModule):
        raise UserError(
            f"`data` {type(data).__name__} has no degraded views: choose a class of `datamodules`", option="data"
        )
    return data
