"""How to read a report: what its numbers are, and where their definitions come from."""

from collections.abc import Sequence

from bench.metrics import METRICS
from bench.report.document import Section
from bench.report.groups import Group
from bench.report.rates import LEAST_FACTOR, LEAST_SHARE
from bench.statistics.bootstrap import IMAGE_RESAMPLES

_STATISTICS = {
    "Pointwise and joint": "an interval at 95% holds the true value in 95 of 100 sets of images drawn like these; "
    "pointwise: each alone, so that among many some miss; joint: all that are named at once.",
    "Interval of a precision": "Wilson's score interval at 95% (Wilson, 1927, Journal of the American Statistical "
    "Association 22), pointwise. It is about other images drawn like these; the same run on the same images gives the "
    "same number.",
    "Drop": "precision of the original minus that of the view, in percentage points wherever it stands in a table, on "
    "the screen or in a CSV file (columns that end in _points).",
    "Interval of a drop": "Tango's score interval of a paired difference at 95% (Tango, 1998, Statistics in Medicine "
    "17), pointwise. It depends on the numbers of broken images (right in the original, wrong in the view) and of "
    "repaired ones (the other way round) alone; where no image changed it is as wide as the number of images makes it.",
    "Relative drop": "(p0 - p) / (p0 - 1/C) with C classes: the share that was lost of what the original had over "
    "guessing, corrected for chance as Cohen's (1960) kappa is. 1 is down to guessing. It compares encoders and data "
    "sets that start from different precisions.",
    "Near chance": "the interval of the originals' precision reaches down to what always naming one class would get: "
    "the share of the images that are of the largest class, 1/C where all classes have as many. Then there is nothing "
    "to lose, and no drop says what compression does.",
    "p": "two-sided exact McNemar test (McNemar, 1947, Psychometrika 12): were the images that only one of the two got "
    "right split evenly, how likely would a split at least as uneven be?",
    "Holm": "p-values are adjusted by Holm's (1979, Scandinavian Journal of Statistics 6) method, which controls the "
    "chance of a single false alarm in a family of tests: they are joint. A family is all tests of one set of images: "
    "of views against the original in “Drop”, of pairs of encoders on every view in “Between encoders”.",
    "A class shown to lose": "p < 0.05 by McNemar's exact test with as many changed images as the class's numbers of "
    "right images allow, adjusted by Holm's method for all classes and views of the encoder. A confusion that is named "
    "as grown most has passed the like for all pairs of classes.",
    "Same images": "runs are compared only if data set, split, content hash, selection, number of images and classes "
    "agree, and image by image only if the indices and labels in their images.csv agree.",
}
_SIZES = {
    "Smallest setting": "the measured view of the fewest bytes per image whose drop is under the limit (--drop). "
    "Chosen as smallest among many, it tends to be a little worse on other images; “surely” is what holds.",
    "Surely": "shown to be under the limit by one-sided tests that together are wrong about one setting of an "
    "encoder or more with a chance of 2.5% at most. Each is exact at every number of images: Tango's score orders "
    "the samples, and the chance of one so low is maximised over the unknown share of repaired images (Sidik, 2003, "
    "Statistics in Medicine 22; Berger and Boos, 1994, Journal of the American Statistical Association 89). The "
    "settings of a codec are tested from the largest files down to the first that fails, without correction; codecs "
    "share the 2.5%, and one whose settings all pass leaves its share to the others (Bretz and others, 2009, "
    "Statistics in Medicine 28).",
    "How many images": "about how many show it of some setting, by the same tests, if they change as these images did.",
    "Codec's curve": "views that differ in the setting of their last codec only, joined by straight lines over the "
    "logarithm of the bits per pixel (or bytes). Mean precision is the area under it on a range of bits, divided by "
    "its width; its interval is a paired percentile bootstrap at 95%, pointwise.",
    "Bytes where the drop reaches the limit": "where the curve of the drop falls through the limit; where noise "
    "makes it do so several times, between the two settings between which its monotone (isotonic) fit does. Its "
    "interval at 95%, pointwise: coming from the smallest files the first place where the lower ends of the drops' "
    "intervals, joined by straight lines, are not above the limit; coming from the largest the first where the "
    "upper ends are not below it; each moved out by the interval of the mean bytes.",
    "Codecs at equal bits": "Bjøntegaard's (2001, ITU-T VCEG-M33) average difference between two curves over the "
    "bits that both span, with straight lines between the measured settings instead of his cubic, which can "
    f"overshoot. Given where these bits differ by a factor of {LEAST_FACTOR:.2f} at least and are {LEAST_SHARE:.0%} "
    "of the narrower curve's. Intervals are joint for all differences of a set of images: as many bootstrap "
    "standard errors wide as the largest deviation among them is in 95% of the resamples.",
    "Codecs at equal precision": "Bjøntegaard's rate: the average difference in the logarithm of the bytes over the "
    "precisions that both curves span, as a percentage, with the monotone piecewise cubic (PCHIP) of the JVET's "
    "common test conditions. A curve ends where its precision no longer rises with the bytes. Given where the "
    f"precisions in common are {LEAST_SHARE:.0%} of the narrower curve's at least, and exist in 97.5% of resamples. "
    "Its interval is a paired percentile bootstrap at 95%, pointwise.",
    "Bootstrap": f"images are drawn with replacement {IMAGE_RESAMPLES:,} times, each with its correctness and its "
    "bytes in every view, and everything is computed anew (Efron and Tibshirani, 1993, An Introduction to the "
    "Bootstrap).",
}


def section(groups: Sequence[Group]) -> Section:
    """Definitions of the metrics that were measured and of the statistics about them."""
    names = {name for group in groups for name in group.cells}
    metrics = {metric.title: metric.definition for metric in METRICS if metric.name in names | {"flip_rate"}}
    sizes = _SIZES if "bits_per_pixel" in names else {}
    return Section("How to read", (metrics | _STATISTICS | sizes,))
