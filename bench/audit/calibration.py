"""From evidence to probabilities and verdicts; fitted with `python -m benchmarks.audit`."""

import math

CHROMA_CONTRAST = 0.25
CHROMA_FLOOR = 1.5
EARLIER_SCORE = 12.0
_FEW_BLOCKS = 64
_THRESHOLD_FEW, _THRESHOLD_MANY = 8.0, 20.0
_SLOPE, _MIDDLE = 0.6, 6.0


def jpeg_threshold(blocks: int) -> float:
    """Score in nats above which an image is said to have been JPEG."""
    return _THRESHOLD_FEW if blocks < _FEW_BLOCKS else _THRESHOLD_MANY


def jpeg_probability(score: float, blocks: int) -> float:
    """Probability, 0 to 1, that an image was JPEG, where half of all are."""
    middle = _MIDDLE * jpeg_threshold(blocks) / _THRESHOLD_FEW
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, _SLOPE * (score - middle)))))
