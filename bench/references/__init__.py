"""Published figures that a run can be held against: one typed registry, the figures as data files beside it.

A source is a file in `data` and its name in `bench.references.sources.NAMES`.
"""

from bench.references.comparison import Comparison, compare, published_curves
from bench.references.sources import NAMES, Published, Source, load, require_names

__all__ = ["NAMES", "Comparison", "Published", "Source", "compare", "load", "published_curves", "require_names"]
