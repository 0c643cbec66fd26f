"""Intervals, tests and curves, from counts and points alone."""
