"""How to read a report: what its numbers are, and where their definitions come from."""

from collections.abc import Sequence

from bench.metrics import METRICS
from bench.report.document import Section
from bench.report.groups import Group
from bench.statistics.bootstrap import COUNT_RESAMPLES, IMAGE_RESAMPLES

_STATISTICS = {
    "Interval of a precision": "Wilson's score interval at 95% (Wilson, 1927, Journal of the American Statistical "
    "Association 22). It is about other images drawn like these; the same run on the same images gives the same "
    "number.",
    "Interval of a drop": f"paired percentile bootstrap at 95% with {COUNT_RESAMPLES:,} resamples (Efron and "
    "Tibshirani, 1993, An Introduction to the Bootstrap, chapter 13). An image contributes +1 (broken), -1 (repaired) "
    "or 0, so resampling images is drawing broken, repaired and the rest from a multinomial distribution, which is how "
    "it is done. Where no image changed there is nothing to resample and the interval is a point: read it together "
    "with n.",
    "Relative drop": "(p0 - p) / (p0 - 1/C) with C classes: the share that was lost of what the original had over "
    "guessing, corrected for chance as Cohen's (1960) kappa is. 1 is down to guessing. It compares encoders and data "
    "sets that start from different precisions.",
    "p": "two-sided exact McNemar test (McNemar, 1947, Psychometrika 12): were the images that only one of the two got "
    "right split evenly, how likely would a split at least as uneven be?",
    "Holm": "p-values are adjusted by Holm's (1979, Scandinavian Journal of Statistics 6) method, which controls the "
    "chance of a single false alarm in a family of tests. A family is all tests of one set of images: of views against "
    "the original in “Drop”, of pairs of encoders on every view in “Between encoders”.",
    "Same images": "runs are compared only if data set, split, content hash, selection, number of images and classes "
    "agree, and image by image only if the indices and labels in their images.csv agree.",
}
_SIZES = {
    "Smallest setting": "the measured view of the fewest bytes per image whose drop is under the limit (--drop). "
    "Chosen as smallest among many, it tends to be a little worse on other images; “surely” asks for the upper end of "
    "the drop's interval to be under the limit, too.",
    "Codec's curve": "views that differ in the setting of their last codec only, joined by straight lines over the "
    "logarithm of the bits per pixel (or bytes). Mean precision is the area under it on a range of bits, divided by "
    "its width.",
    "Bytes where the drop reaches the limit": "coming from the largest files, the first place on the curve where the "
    "drop is no longer under the limit: with more bytes it is, whatever the curve does further down.",
    "Codecs at equal bits": "Bjøntegaard's (2001, ITU-T VCEG-M33) average difference between two curves over the bits "
    "that both span, with straight lines between the measured settings instead of his cubic, which can overshoot.",
    "Interval of a curve": "paired percentile bootstrap at 95%: images are drawn with replacement "
    f"{IMAGE_RESAMPLES:,} times, each with its correctness and its bytes in every view, and everything is computed "
    "anew.",
}


def section(groups: Sequence[Group]) -> Section:
    """Definitions of the metrics that were measured and of the statistics about them."""
    names = {name for group in groups for name in group.cells}
    metrics = {metric.title: metric.definition for metric in METRICS if metric.name in names | {"flip_rate"}}
    sizes = _SIZES if "bits_per_pixel" in names else {}
    return Section("How to read", (metrics | _STATISTICS | sizes,))
