"""CLIP encoders: what a name stands for, weights, preprocessing, zero-shot classification."""
