"""How to read a report, and what it is made from."""

from collections.abc import Sequence
from pathlib import Path

from bench.report.elements import Block, Cell, Listing, Section, Table, Text
from bench.report.groups import Group
from bench.report.runs import LeftOut, codecs
from bench.statistics.intervals import RESAMPLES
from bench.statistics.rate_curves import RESAMPLES as RATE_RESAMPLES

_DEFINITIONS = (
    (
        "Precision",
        "micro-averaged, that is top-1 accuracy: the share of images whose prediction is the label; the paper's "
        "“average precision” (Chen, Namboodiri and Padget, 2023, arXiv 2311.14029).",
    ),
    (
        "Interval of a precision",
        "Wilson's score interval at 95% (Wilson, 1927, Journal of the American Statistical Association 22). It is "
        "about other images drawn like these; the same run on the same images gives the same number.",
    ),
    (
        "Drop",
        "precision of the original minus that of the view, on the same images: broken (right before, wrong now) minus "
        "repaired (wrong before, right now), as shares of all images.",
    ),
    (
        "Interval of a drop",
        f"paired percentile bootstrap at 95% with {RESAMPLES:,} resamples (Efron and Tibshirani, 1993, An Introduction "
        "to the Bootstrap, chapter 13). An image contributes +1, -1 or 0, so resampling images is drawing broken, "
        "repaired and the rest from a multinomial distribution, which is how it is done. Where no image changed there "
        "is nothing to resample and the interval is a point: read it together with n.",
    ),
    (
        "Relative drop",
        "(p0 - p) / (p0 - 1/C) with C classes: the share that was lost of what the original had over guessing, "
        "corrected for chance as Cohen's (1960) kappa is. 1 is down to guessing. It compares encoders and data sets "
        "that start from different precisions.",
    ),
    (
        "Bits per pixel",
        "8 times the bytes of the encoded view, headers included, per pixel of the source image; the mean over images, "
        "each counting the same. So is the number of bytes.",
    ),
    (
        "PSNR and SSIM",
        "peak signal-to-noise ratio over all samples of the 8-bit RGB image, and structural similarity (Wang et al., "
        "2004, IEEE Transactions on Image Processing 13; Gaussian window of 11 x 11, standard deviation 1.5), of the "
        "view against its original at native size; means over images. An image that the view left as it was has an "
        "infinite PSNR, which does not enter the mean. A view of another size than its original has neither.",
    ),
    (
        "Smallest setting",
        "the measured view of the fewest bytes per image whose drop is under the limit (--drop). Chosen as smallest "
        "among many, it tends to be a little worse on other images; “surely” asks for the upper end of the drop's "
        "interval to be under the limit, too.",
    ),
    (
        "Codec's curve",
        "views that differ in the setting of their last codec only, joined by straight lines over the logarithm of the "
        "bits per pixel (or bytes). Mean precision is the area under it on a range of bits, divided by its width.",
    ),
    (
        "Bytes where the drop reaches the limit",
        "coming from the largest files, the first place on the curve where the drop is no longer under the limit: with "
        "more bytes it is, whatever the curve does further down.",
    ),
    (
        "Codecs at equal bits",
        "Bjøntegaard's (2001, ITU-T VCEG-M33) average difference between two curves over the bits that both span, with "
        "straight lines between the measured settings instead of his cubic, which can overshoot.",
    ),
    (
        "Interval of a curve",
        f"paired percentile bootstrap at 95%: images are drawn with replacement {RATE_RESAMPLES:,} times, each with "
        "its correctness and its bytes in every view, and everything is computed anew.",
    ),
    ("Flips", "share of images whose prediction changed, right or wrong."),
    ("Loss increase", "growth of the mean cross-entropy of the true class over the original, in nats."),
    (
        "Calibration error",
        "expected calibration error (Guo et al., 2017), 15 equal bins of the confidence.",
    ),
    (
        "p",
        "two-sided exact McNemar test (McNemar, 1947, Psychometrika 12): were the images that only one of the two got "
        "right split evenly, how likely would a split at least as uneven be?",
    ),
    (
        "Holm",
        "p-values are adjusted by Holm's (1979, Scandinavian Journal of Statistics 6) method, which controls the "
        "chance of a single false alarm in a family of tests. A family is all tests of one set of images: of views "
        "against the original in “Drop”, of pairs of encoders on every view in “Between encoders”.",
    ),
    (
        "Same images",
        "runs are compared only if data set, split, content hash, selection, number of images and classes agree, "
        "and image by image only if the indices and labels in their images.csv agree.",
    ),
)


def reading_section() -> Section:
    """Definitions and their sources."""
    return Section("How to read", (Listing(_DEFINITIONS),))


def sources_section(
    groups: Sequence[Group], left_out: Sequence[LeftOut], replaced: Sequence[tuple[Path, str]]
) -> Section:
    """Every result file: used with its provenance, replaced by a newer one, or left out."""
    header = (
        "encoder", "weights", "SHA-256", "arithmetic", "images", "torch", "Pillow", "codecs", "commit", "file"
    )  # fmt: skip
    rows = []
    for group in groups:
        for label, run in group.runs:
            packages = run.software.get("packages") or {}
            values = (
                label,
                Path(str(run.model["pretrained"])).name,
                str(run.model.get("weights_sha256") or "")[:12],
                run.model.get("precision"),
                group.title,
                packages.get("torch"),
                packages.get("pillow"),
                ", ".join(f"{name} {version}" for name, version in codecs(run).items()),
                _short_commit(run.software.get("git_commit")),
                run.path,
            )
            rows.append(tuple(Cell("" if value is None else str(value)) for value in values))
    blocks: list[Block] = [Table("sources", "Result files", header, tuple(rows))]
    if replaced:
        blocks += [Text("Measured again by a newer run, which is the one shown:")]
        blocks += [Listing(tuple((str(path), what) for path, what in replaced))]
    if left_out:
        blocks += [Text("Not used:"), Listing(tuple((str(one.path), one.reason) for one in left_out))]
    return Section("Sources", tuple(blocks))


def _short_commit(commit: object) -> str:
    """The first digits of a commit, and whether files differed from it.

    >>> _short_commit("0123456789abcdef-dirty")
    '012345678-dirty'
    """
    digits, _, dirty = str(commit or "").partition("-")
    return digits[:9] + (f"-{dirty}" if dirty else "")
