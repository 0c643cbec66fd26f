"""JPEG quantisation tables that cost an encoder less than the standard ones do at the same bytes."""
