"""What results say whose predictions depend on each other: the model was adapted to the images while it was tested."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.runs.json_values import Value
from bench.runs.provenance import ADAPTATION, ModelRecord

BATCH_COLUMN = "adapted_in_batch"
"""Column of per-image tables that only such runs have: the number of the batch that an image was in, from 0."""

_DEPENDS = "predictions depend on their neighbours and order"


@dataclass(frozen=True)
class AdaptationRecord:
    """How a model was adapted to test images as they came, view by view.

    Attributes:
        method: Name.
        optimiser: "adam" or "sgd".
        learning_rate: Of its one step per batch.
        reset: "never", or "batch" where each batch began with the original weights.
        statistics: Those that BatchNorm normalised with, "batch" or "source"; None where there is no BatchNorm.
        trained_parameters: Number of gains and biases that were adapted.
        batch_size: Images per batch.
        shuffle: Seed of the images' order; None where they came in the order of the data.
        processes: Number of processes.
    """

    method: str
    optimiser: str
    learning_rate: float
    reset: str
    statistics: str | None
    trained_parameters: int
    batch_size: int
    shuffle: int | None
    processes: int

    @classmethod
    def of(cls, model: ModelRecord, file: Path = Path("this run")) -> Self | None:
        """What a record says about its model; None of an ordinary one.

        Args:
            model: Of the record.
            file: That it was read from, for messages.

        Raises:
            FileError: It is damaged.
        """
        if ADAPTATION not in model.further:
            return None
        value = Value(model.further[ADAPTATION], file, ("model", ADAPTATION))
        statistics, shuffle = value.get("statistics"), value.get("shuffle")
        return cls(
            method=value["method"].text(),
            optimiser=value["optimiser"].text(),
            learning_rate=value["learning_rate"].real(),
            reset=value["reset"].text(),
            statistics=None if statistics is None else statistics.text(),
            trained_parameters=value["trained_parameters"].whole(),
            batch_size=value["batch_size"].whole(1),
            shuffle=None if shuffle is None else shuffle.whole(),
            processes=value["processes"].whole(1),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able, with a sentence for those who read the file itself."""
        return {**vars(self), "note": self.mark}

    @property
    def mark(self) -> str:
        """What has to stand beside every number of such a run.

        >>> AdaptationRecord("TENT", "adam", 0.001, "never", None, 64, 200, 0, 1).mark.partition(": ")[2]
        'predictions depend on their neighbours and order (batches of 200, shuffled with seed 0, 1 process)'
        """
        processes = f"{self.processes} process{'' if self.processes == 1 else 'es'}"
        order = f"batches of {self.batch_size:,}, {self.order}, {processes}"
        return f"adapted while tested ({self.method}): {_DEPENDS} ({order})"

    @property
    def order(self) -> str:
        """In which order the images came, in words."""
        return "the data's order" if self.shuffle is None else f"shuffled with seed {self.shuffle}"

    @property
    def settings(self) -> str:
        """How it was adapted but for the order of the images, in words.

        >>> AdaptationRecord("TENT", "adam", 0.001, "never", "batch", 64, 200, 0, 1).settings
        "TENT, adam 0.001, reset never, the batch's statistics, batches of 200"
        """
        statistics = [] if self.statistics is None else [_STATISTICS.get(self.statistics, self.statistics)]
        parts = (f"{self.optimiser} {self.learning_rate:g}", f"reset {self.reset}", *statistics)
        return ", ".join((self.method, *parts, f"batches of {self.batch_size:,}"))


_STATISTICS = {"batch": "the batch's statistics", "source": "the encoder's own statistics"}
