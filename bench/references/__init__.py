"""Published figures that a run can be held against: one typed registry, the figures as data files beside it.

A source is a file in `data` and its name in `bench.references.names`.
"""
