"""What a run can be held against: which published figures are of the same experiment, and what keeps others from it."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache

from bench.paper import TEMPLATE
from bench.references.names import NAMES
from bench.references.sources import Images, Published, Row, Source, load
from bench.runs.provenance import DataRecord, ModelRecord
from datamodules.degradations import Chain, Jpeg, parse
from datamodules.errors import UserError

_NO_NORMALISATION = [0.0, 0.0, 0.0]


@dataclass(frozen=True)
class Bar:
    """How far two sources are apart where both print a figure of the same model and images.

    Attributes:
        low: The least of the differences.
        high: The greatest of them.
        pairs: Their number.
    """

    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Comparison:
    """What a source has to say about a model's measurements on some images.

    Attributes:
        refusal: Why it has nothing to say about them; empty where it has.
        published: Figures by the run's views, those of which there is one.
        caveat: What keeps it from being the same experiment; empty where it is the same.
        bar: Of measured minus published, as far as it is known from print; None for the same experiment and where it is
            not known.
    """

    refusal: str = ""
    published: Mapping[str, Published] = field(default_factory=dict)
    caveat: str = ""
    bar: Bar | None = None


def compare(source: Source, model: ModelRecord, data: DataRecord, images: int, views: Sequence[str]) -> Comparison:
    """Find the published figures that a model's measurements can be held against.

    Args:
        source: Of figures.
        model: What was measured.
        data: The images.
        images: Number of images that were classified.
        views: What was measured of them, by name.
    """
    tables = [table for table in source.tables if table.are_of(data)]
    if not tables:
        return Comparison(f"{source.title} has no such data set and split")
    rows = source.models(model.encoder)
    if not rows:
        return Comparison(f"{source.title} has no such encoder")
    tagged = [row for row in rows if row.weights == model.pretrained]
    if not tagged:
        known = " or ".join(dict.fromkeys(row.weights for row in rows))
        return Comparison(f"weights {model.pretrained}, {source.title} has {known}")
    row = _with_activation(tagged, model.activation)
    if row is None:
        return Comparison(f"activation {model.activation}, {source.title} has {tagged[0].activation}")
    published: dict[str, Published] = {}
    for table in tables:
        if reason := _refusal(source, table, model, data, images):
            return Comparison(reason)
        figures = {pixels_of(figure.view): figure for figure in source.figures(row, table)}
        published |= {view: figures[same] for view in views if (same := pixels_of(view)) in figures}
    if not published:
        return Comparison(f"{source.title} has none of these views")
    caveat, bar = _caveat(source, tables[0], model)
    return Comparison("", published, caveat, bar)


def _refusal(source: Source, table: Images, model: ModelRecord, data: DataRecord, images: int) -> str:
    """Why measurements are another experiment than a table's; empty where nothing is known against them."""
    if images != table.images:
        return f"{images} images, {source.title} has {table.images}"
    if table.stored_lossless and data.lossy_source_formats:
        return "the source images are compressed already"
    if table.class_names is not None and _digest(data.class_names) != table.class_names:
        return f"the class names are not those of {source.title}"
    if not table.templates:
        return ""
    if model.further.get("mean") == _NO_NORMALISATION:
        return "the pixels were not normalised"
    if (companion := model.companion) is not None:
        return companion.said_of("it was measured")
    if model.templates != table.templates and (model.templates != (TEMPLATE,) or prompt_bar(source, table) is None):
        return f"{_prompts(model.templates)}, {source.title} has {_prompts(table.templates)}"
    return ""


def _caveat(source: Source, table: Images, model: ModelRecord) -> tuple[str, Bar | None]:
    if table.templates and model.templates != table.templates:
        return f"{_prompts(model.templates)} instead of {_prompts(table.templates)}", prompt_bar(source, table)
    return table.caveat, None


@cache
def prompt_bar(source: Source, table: Images) -> Bar | None:
    """How far the seed paper's figures are above a source's, where both print one of the same model and images.

    Nothing but the prompts is known to differ between the two, so it is about what the prompt is worth, on the
    encoders that the paper has. None where there is no such pair.
    """
    paper = load("paper")
    same = [own for own in paper.tables if own.data == table.data and own.splits[0] in table.splits]
    if source is paper or not same:
        return None
    differences = []
    for own in paper.rows:
        for row in source.models(own.encoder):
            values = {figure.view: figure.value for figure in source.figures(row, table)}
            for figure in paper.figures(own, same[0]):
                if row.weights == own.weights and figure.view in values:
                    differences.append(figure.value - values[figure.view])
    return Bar(min(differences), max(differences), len(differences)) if differences else None


def published_curves(
    encoder: str, weights: str, data: str, split: str, activation: str | None = None
) -> dict[str, dict[str, float]]:
    """Published precision in [0, 1] of a model on a split, by name of the source and by view.

    The figures are as they are printed, whatever the prompts were; `compare` says what a run can be held against.

    Args:
        encoder: Name, spelt in any way.
        weights: Tag.
        data: Name of the data set.
        split: Of it.
        activation: "quickgelu" or "gelu", for the few models of which open_clip prints both.

    >>> published_curves("ViT-B/32", "openai", "cifar10", "test")["paper"]
    {'original': 0.8831, 'jpeg-75': 0.7214, 'jpeg-50': 0.6162, 'jpeg-25': 0.4763}
    """
    record = DataRecord(data, split, ())
    curves: dict[str, dict[str, float]] = {}
    for source in map(load, NAMES):
        rows = [row for row in source.models(encoder) if row.weights == weights]
        row = _with_activation(rows, activation)
        for table in source.tables if row else ():
            if row and table.are_of(record):
                values = {figure.view: figure.value for figure in source.figures(row, table)}
                curves.setdefault(source.name, {}).update(values)
    return curves


def _with_activation(rows: Sequence[Row], activation: str | None) -> Row | None:
    """The row of an activation; without one that of QuickGELU, which all weights with two rows were trained with."""
    wanted = (None, activation or "quickgelu")
    return next((row for row in rows if row.activation in wanted), None)


@cache
def pixels_of(view: str) -> str:
    """A view's name without what leaves its pixels as they are: equal for views whose pixels are equal by definition.

    >>> pixels_of("cifar10c-jpeg-1"), pixels_of("resize-256+crop-224+imagenetc-jpeg-3+jpeg-85-optimise")
    ('jpeg-80', 'resize-256+crop-224+jpeg-15+jpeg-85')
    """
    with suppress(UserError):  # a record may name a view that is registered elsewhere
        degradation = parse(view)
        links = degradation.links if isinstance(degradation, Chain) else (degradation,)
        plain = (getattr(link, "plain", link) for link in links)
        return "+".join(
            replace(link, subsampling=_subsampling(link), progressive=False, optimise=False).name
            if isinstance(link, Jpeg)
            else link.name
            for link in plain
        )
    return view


def _subsampling(link: Jpeg) -> str | None:
    return None if link.subsampling == "420" else link.subsampling


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _prompts(templates: Sequence[str]) -> str:
    return f'the prompt "{templates[0]}"' if len(templates) == 1 else f"{len(templates)} prompts"
