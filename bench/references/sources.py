"""Sources of published figures: what was measured, on what, with what, to how many decimals, and where it stands."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Self

from bench.paper import canonical_encoder
from bench.references.names import require_names
from bench.runs.provenance import DataRecord

_QUICKGELU = "-quickgelu"
_FOLDERS = "image_folder"  # the name of `datamodules.ImageFolder`, whose data set is known by its root


@dataclass(frozen=True)
class Published:
    """One published figure: top-1 accuracy, that is micro-averaged precision.

    Attributes:
        source: Name of the source.
        where: Figure, table or column that prints it.
        encoder: Name, in the spelling of `bench.paper.canonical_encoder`.
        weights: Tag.
        activation: "quickgelu" or "gelu" where the source has one encoder and tag with both; None elsewhere.
        data: Name of the data set.
        split: Of it.
        templates: Prompts, ensembled; empty for models that have none.
        view: What was done to the images, as a view of this project: severity and geometry are part of it.
        images: Number of images that were classified.
        decimals: That are printed, of a share in [0, 1].
        value: In [0, 1].
    """

    source: str
    where: str
    encoder: str
    weights: str
    activation: str | None
    data: str
    split: str
    templates: tuple[str, ...]
    view: str
    images: int
    decimals: int
    value: float

    @property
    def half_a_digit(self) -> float:
        """How far a value may be from the printed one to be equal in print."""
        return 0.5 * 10.0**-self.decimals + 1e-9


@dataclass(frozen=True)
class Images:
    """What a column, or several of them, of a source were measured on.

    Attributes:
        where: Figure, table or column.
        data: Name of the data set.
        splits: Names that its split goes by, the source's first.
        images: Number of images that were classified.
        views: A column each.
        folders: Names of folders of images that are taken for the data set, in lower case.
        split_images: Number of images in the split.
        templates: Prompts, ensembled; empty for models that have none.
        class_names: SHA-256 of the class names joined by line feeds; None where they are not asked for.
        stored_lossless: Whether the data set is one that is stored without loss.
        caveat: What keeps any run from being the same experiment; empty where nothing does.
    """

    where: str
    data: str
    splits: tuple[str, ...]
    images: int
    views: tuple[str, ...]
    folders: tuple[str, ...] = ()
    split_images: int = 0
    templates: tuple[str, ...] = ()
    class_names: str | None = None
    stored_lossless: bool = True
    caveat: str = ""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read a part of `tables`."""
        lists = {name: tuple(value.get(name, ())) for name in ("splits", "views", "folders", "templates")}
        return cls(**{**value, **lists, "split_images": value.get("split_images", value["images"])})

    def are_of(self, data: DataRecord) -> bool:
        """Whether data are a split of this data set, by what they are called."""
        name = str(data.further.get("root", "")).lower() if data.name == _FOLDERS else data.name
        return data.split in self.splits and name in (self.data, *self.folders)


@dataclass(frozen=True)
class Row:
    """What a source says about one model.

    Attributes:
        encoder: Name, in the spelling of `bench.paper.canonical_encoder`.
        weights: Tag.
        activation: As in `Published`.
        values: In [0, 1], by the views of all tables one after the other.
    """

    encoder: str
    weights: str
    activation: str | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class AlexNet:
    """Errors in [0, 1] that corruption errors are divided by, and where they are from."""

    error: float
    clean_error: float
    origin: str


@dataclass(frozen=True)
class Source:
    """A publication, or a part of one.

    Attributes:
        name: As `--against` takes it.
        title: In the middle of a sentence.
        citation: Of the publication.
        location: Figures, or file and commit.
        note: What has to be known about its figures, in sentences.
        decimals: That are printed, of a share in [0, 1].
        supervised: Whether its models are trained on the data set, so that no encoder is among them.
        tables: What was measured.
        rows: What was found.
        alexnet: The reference of corruption errors, where there is one.
    """

    name: str
    title: str
    citation: str
    location: str
    note: str
    decimals: int
    supervised: bool
    tables: tuple[Images, ...]
    rows: tuple[Row, ...]
    alexnet: AlexNet | None

    def models(self, encoder: str) -> list[Row]:
        """What it says about an encoder, spelt in any way."""
        return [row for row in self.rows if row.encoder == canonical_encoder(encoder)]

    def figures(self, row: Row, table: Images) -> tuple[Published, ...]:
        """What it says about a model in one of its tables."""
        start = sum(len(other.views) for other in self.tables[: self.tables.index(table)])
        return tuple(
            Published(
                source=self.name,
                where=table.where,
                encoder=row.encoder,
                weights=row.weights,
                activation=row.activation,
                data=table.data,
                split=table.splits[0],
                templates=table.templates,
                view=view,
                images=table.images,
                decimals=self.decimals,
                value=value,
            )
            for view, value in zip(table.views, row.values[start:], strict=False)
        )

    def all_figures(self) -> Iterator[Published]:
        """Everything it says."""
        for row in self.rows:
            for table in self.tables:
                yield from self.figures(row, table)


@cache
def read_data(name: str) -> dict[str, Any]:
    """The data file of a source, as it is."""
    content: dict[str, Any] = json.loads((files(__package__) / "data" / f"{name}.json").read_text(encoding="utf-8"))
    return content


@cache
def load(name: str) -> Source:
    """A source by its name.

    Raises:
        UserError: There is none of that name.

    >>> paper = load("paper")
    >>> next(figure for figure in paper.all_figures() if figure.view == "jpeg-75").value
    0.5457
    """
    require_names([name])
    content = read_data(name)
    alexnet = content.get("alexnet")
    return Source(
        **{key: content[key] for key in ("name", "title", "citation", "location", "note", "decimals")},
        supervised=content.get("supervised", False),
        tables=tuple(Images.from_json(table) for table in content["tables"]),
        rows=_rows(content["rows"]),
        alexnet=None if alexnet is None else AlexNet(alexnet["error"], alexnet["clean_error"], alexnet["from"]),
    )


def _rows(rows: Sequence[Sequence[Any]]) -> tuple[Row, ...]:
    """A row per model, and per activation where a source has both with different figures.

    open_clip names the same architecture with and without QuickGELU, and the latter was built with GELU. Where both
    names have the same figures, it was built with what the weights need under either name.
    """
    by_model: dict[tuple[str, str], dict[tuple[float, ...], str]] = {}
    for name, tag, *values in rows:
        activation = "quickgelu" if name.endswith(_QUICKGELU) else "gelu"
        by_model.setdefault((canonical_encoder(name), tag), {}).setdefault(tuple(values), activation)
    return tuple(
        Row(encoder, tag, activation if len(found) > 1 else None, values)
        for (encoder, tag), found in by_model.items()
        for values, activation in found.items()
    )
