"""What Chen, Namboodiri and Padget (2023), arXiv 2311.14029, print, as data: 144 precisions and 44 attributed images.

Precision is micro-averaged, that is top-1 accuracy: Figure 6 has nothing but multiples of 1/5000. The attributions'
sign is loss(degraded) - loss(original), as in the printed tables; Equation 4 has the opposite one. The paper does not
say which images its tables show.
"""

from dataclasses import dataclass

from datamodules.degradations import DEFAULT_DEGRADATIONS

OPENAI_ENCODERS = (
    "RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px"
)  # fmt: skip
"""The paper's encoders as OpenAI writes their names."""

VIEWS = DEFAULT_DEGRADATIONS
TEMPLATE = "This is an image of a {}."
PRETRAINED = "openai"


@dataclass(frozen=True)
class PrecisionTable:
    """One figure of the paper.

    Attributes:
        data: Name of the data set.
        split: "train" or "test".
        where: The figure.
        images: Number of images in the split.
        rows: Precision in [0, 1], printed with four decimals, by encoder and in the order of `VIEWS`.
    """

    data: str
    split: str
    where: str
    images: int
    rows: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class PrintedPrecision:
    """One printed precision in [0, 1], and the figure that prints it."""

    value: float
    where: str


@dataclass(frozen=True)
class PrintedAttribution:
    """One line of Tables 1 to 6.

    Attributes:
        where: The table.
        encoder: One of `ENCODERS`.
        data: Name of the data set.
        label: True class.
        predicted: Predicted class, in the order of `VIEWS`.
        score: Probability of the true class in [0, 1], in the order of `VIEWS`.
        ig: Sum of the attribution in nats, for the three degraded views.
        misprint: What in this line cannot be as printed; empty where nothing is known.
    """

    where: str
    encoder: str
    data: str
    label: str
    predicted: tuple[str, ...]
    score: tuple[float, ...]
    ig: tuple[float, ...]
    misprint: str = ""


def canonical_encoder(name: str) -> str:
    """An encoder's name in one spelling, the one of `ENCODERS`.

    >>> canonical_encoder("ViT-L/14@336px"), canonical_encoder("ViT-B-32-quickgelu")
    ('ViT-L-14-336', 'ViT-B-32')
    """
    return name.replace("/", "-").replace("@", "-").removesuffix("px").removesuffix("-quickgelu")


ENCODERS = tuple(canonical_encoder(name) for name in OPENAI_ENCODERS)
"""The paper's encoders as open_clip writes their names."""


def find_table(data: str, split: str) -> PrecisionTable | None:
    """The figure about a split of a data set, None where the paper has none."""
    return next((table for table in PRECISION if (table.data, table.split) == (data, split)), None)


def find_precision(encoder: str, data: str, split: str, view: str) -> PrintedPrecision | None:
    """The printed precision of an encoder, spelt in any way, None where the paper has none.

    >>> find_precision("ViT-B/32", "cifar10", "test", "jpeg-75")
    PrintedPrecision(value=0.7214, where='Figure 1')
    """
    table, name = find_table(data, split), canonical_encoder(encoder)
    if table is None or name not in table.rows or view not in VIEWS:
        return None
    return PrintedPrecision(table.rows[name][VIEWS.index(view)], table.where)


def find_attributions(encoder: str, data: str) -> tuple[PrintedAttribution, ...]:
    """The printed attributions of an encoder, spelt in any way, on a data set; none is an empty tuple."""
    name = canonical_encoder(encoder)
    return tuple(line for line in ATTRIBUTIONS if (line.encoder, line.data) == (name, data))


PRECISION = (
    PrecisionTable(
        "cifar10", "test", "Figure 1", 10000,
        {
            "RN50": (0.7141, 0.5457, 0.4689, 0.3562),
            "RN101": (0.7934, 0.6179, 0.4945, 0.3441),
            "RN50x4": (0.7674, 0.6007, 0.4948, 0.3524),
            "RN50x16": (0.8125, 0.6632, 0.5607, 0.405),
            "RN50x64": (0.8346, 0.6782, 0.587, 0.4535),
            "ViT-B-32": (0.8831, 0.7214, 0.6162, 0.4763),
            "ViT-B-16": (0.9052, 0.7696, 0.6574, 0.4854),
            "ViT-L-14": (0.9538, 0.86, 0.7735, 0.6129),
            "ViT-L-14-336": (0.9493, 0.8466, 0.7571, 0.599),
        },
    ),
    PrecisionTable(
        "stl10", "test", "Figure 2", 8000,
        {
            "RN50": (0.9479, 0.9203, 0.8826, 0.8143),
            "RN101": (0.9624, 0.9413, 0.918, 0.8575),
            "RN50x4": (0.9623, 0.9395, 0.9144, 0.8582),
            "RN50x16": (0.9755, 0.9555, 0.9346, 0.8902),
            "RN50x64": (0.9851, 0.9686, 0.9547, 0.925),
            "ViT-B-32": (0.9719, 0.9573, 0.934, 0.8798),
            "ViT-B-16": (0.9832, 0.9712, 0.9537, 0.9048),
            "ViT-L-14": (0.9924, 0.988, 0.98, 0.9585),
            "ViT-L-14-336": (0.9925, 0.9874, 0.9765, 0.9487),
        },
    ),
    PrecisionTable(
        "cifar10", "train", "Figure 5", 50000,
        {
            "RN50": (0.7162, 0.5531, 0.4684, 0.3582),
            "RN101": (0.7911, 0.618, 0.4916, 0.3422),
            "RN50x4": (0.7671, 0.6069, 0.4951, 0.361),
            "RN50x16": (0.8152, 0.6705, 0.5627, 0.4014),
            "RN50x64": (0.8378, 0.6842, 0.5871, 0.4473),
            "ViT-B-32": (0.8817, 0.722, 0.6138, 0.4762),
            "ViT-B-16": (0.909, 0.7686, 0.6557, 0.4809),
            "ViT-L-14": (0.9549, 0.8599, 0.7691, 0.6172),
            "ViT-L-14-336": (0.9524, 0.8477, 0.7543, 0.5987),
        },
    ),
    PrecisionTable(
        "stl10", "train", "Figure 6", 5000,
        {
            "RN50": (0.9464, 0.9132, 0.8882, 0.813),
            "RN101": (0.9578, 0.9436, 0.9224, 0.864),
            "RN50x4": (0.9634, 0.936, 0.9156, 0.8668),
            "RN50x16": (0.9748, 0.954, 0.9384, 0.8934),
            "RN50x64": (0.9852, 0.9674, 0.9544, 0.9314),
            "ViT-B-32": (0.9682, 0.9578, 0.9336, 0.876),
            "ViT-B-16": (0.9814, 0.969, 0.9544, 0.9092),
            "ViT-L-14": (0.9926, 0.9844, 0.9798, 0.9584),
            "ViT-L-14-336": (0.9932, 0.9848, 0.978, 0.9506),
        },
    ),
)  # fmt: skip


def _table(where: str, encoder: str, data: str, *lines: tuple[str, ...]) -> tuple[PrintedAttribution, ...]:
    """A printed table: label, predictions, scores and attributions of each line, and what is misprinted in it."""

    def numbers(text: str) -> tuple[float, ...]:
        return tuple(float(number) for number in text.split())

    return tuple(
        PrintedAttribution(
            where, encoder, data, label, tuple(predicted.split()), numbers(score), numbers(ig), "".join(misprint)
        )
        for label, predicted, score, ig, *misprint in lines
    )


ATTRIBUTIONS = (
    *_table(
        "Table 1", "RN50", "cifar10",
        ("truck", "automobile airplane airplane airplane", "0.09 0.0401 0.0371 0.03", "0.8109 0.8589 1.0546"),
        ("ship", "airplane airplane airplane airplane", "0.0925 0.1322 0.1549 0.2499", "-0.3539 -0.5276 -0.9962"),
    ),
    *_table(
        "Table 2", "ViT-B-32", "cifar10",
        ("truck", "truck truck automobile ship", "0.0935 0.742 0.3092 0.0639", "0.1936 1.068 2.6468",
         "the printed score 0.0935 of the original contradicts the three attributions beside it, which all imply 0.90"),
        ("ship", "automobile automobile automobile ship", "0.0773 0.1745 0.1396 0.3113", "-0.8144 -0.5819 -1.3879"),
    ),
    *_table(
        "Table 3", "RN50", "cifar10",
        ("horse", "bird airplane airplane airplane", "0.1187 0.1197 0.1149 0.0742", "-0.0202 0.0328 0.4472"),
        ("airplane", "airplane airplane airplane airplane", "0.7611 0.6988 0.5371 0.8033", "0.0906 0.3691 -0.0326"),
        ("deer", "airplane airplane airplane airplane", "0.0397 0.0361 0.0321 0.0351", "0.0987 0.2167 0.1294"),
        ("truck", "airplane airplane cat bird", "0.069 0.0294 0.0407 0.0273", "0.8535 0.5069 0.9046"),
        ("dog", "airplane airplane airplane bird", "0.0877 0.1194 0.1259 0.106", "-0.3258 -0.3718 -0.1809"),
        ("bird", "bird airplane bird airplane", "0.2332 0.1935 0.2175 0.1925", "0.1676 0.0807 0.2077"),
        ("deer", "bird cat bird bird", "0.0673 0.0523 0.059 0.0634", "0.2476 0.1415 0.0646"),
        ("airplane", "airplane bird airplane bird", "0.64 0.2479 0.3366 0.2096", "0.9459 0.6292 1.0857"),
        ("truck", "airplane airplane airplane airplane", "0.0531 0.0349 0.0417 0.0376", "0.442 0.2453 0.369"),
        ("frog", "bird bird bird bird", "0.0538 0.0835 0.1056 0.0686", "-0.4301 -0.6973 -0.2598"),
    ),
    *_table(
        "Table 4", "ViT-B-32", "cifar10",
        ("horse", "horse horse horse airplane", "0.3562 0.3369 0.2686 0.1544", "0.0592 0.2884 0.8333"),
        ("airplane", "bird bird airplane airplane", "0.2443 0.3639 0.3562 0.3412", "-0.3993 -0.3754 -0.3324"),
        ("deer", "bird airplane cat airplane", "0.0558 0.0552 0.0419 0.0467", "0.0156 0.2918 0.1769"),
        ("truck", "truck truck automobile automobile", "0.7724 0.412 0.3104 0.1449", "0.6323 0.9206 1.6725"),
        ("dog", "dog dog cat cat", "0.4909 0.3269 0.1232 0.1679", "0.4164 1.3838 1.083"),
        ("bird", "horse bird bird airplane", "0.1973 0.2273 0.211 0.1442", "-0.141 -0.0749 0.3141"),
        ("deer", "bird airplane airplane cat", "0.0759 0.0273 0.0303 0.0316", "1.025 0.9265 0.8778"),
        ("airplane", "airplane airplane airplane airplane", "0.8823 0.7552 0.513 0.4556", "0.1556 0.543 0.6607"),
        ("truck", "automobile airplane ship airplane", "0.3672 0.0703 0.0441 0.0512", "1.6619 2.1206 1.9866"),
        ("frog", "bird airplane airplane bird", "0.2131 0.0864 0.1178 0.123", "0.9112 0.5917 0.5477"),
    ),
    *_table(
        "Table 5", "RN50", "stl10",
        ("dog", "cat cat monkey monkey", "0.2313 0.2036 0.1284 0.1312", "0.0995 0.4628 0.5523"),
        ("cat", "cat cat cat cat", "0.9843 0.9695 0.8641 0.7563", "0.0163 0.1273 0.2588"),
        ("bird", "car car car car", "0.0022 0.005 0.0272 0.0445", "-0.8398 -2.4107 -3.0264"),
        ("cat", "cat cat cat cat", "0.9774 0.9806 0.844 0.8783", "-0.0035 0.1523 0.1018"),
        ("car", "bird bird bird bird", "0.0012 0.0004 0.0003 0.0006", "1.0531 1.4599 0.7195"),
        ("horse", "monkey monkey monkey monkey", "0.0 0.0001 0.0002 0.0017", "-0.8399 -1.393 -4.0528"),
        ("dog", "dog dog dog dog", "0.9456 0.8902 0.8897 0.954", "0.0583 0.0586 -0.0075"),
        ("dog", "dog dog dog cat", "0.7744 0.2991 0.2231 0.2275", "0.9604 1.2202 1.2141"),
        ("car", "bird bird bird bird", "0.0037 0.0026 0.0012 0.0018", "0.3116 1.1126 0.6517"),
        ("monkey", "cat horse dog cat", "0.0374 0.015 0.0405 0.055", "0.9117 -0.0521 -0.3912"),
    ),
    *_table(
        "Table 6", "ViT-B-32", "stl10",
        ("dog", "dog dog dog dog", "0.9568 0.9236 0.9114 0.4917", "0.0362 0.0486 0.6657"),
        ("cat", "cat cat cat cat", "0.9737 0.9691 0.9508 0.9525", "0.005 0.0238 0.0219"),
        ("bird", "car car car car", "0.0003 0.0002 0.0005 0.0016", "0.2784 -0.408 -1.61"),
        ("cat", "cat cat cat cat", "0.973 0.949 0.9504 0.9408", "0.0256 0.0238 0.0336"),
        ("car", "bird bird bird bird", "0.0009 0.002 0.0017 0.0013", "-0.7868 -0.6456 -0.3844"),
        ("horse", "monkey monkey monkey monkey", "0.0 0.0 0.0 0.0", "-0.4918 -0.3042 1.2674"),
        ("dog", "dog dog dog dog", "0.9581 0.9655 0.9656 0.981", "-0.0067 -0.0067 -0.0228"),
        ("dog", "dog dog dog dog", "0.9404 0.9317 0.9191 0.8953", "0.0099 0.0235 0.0494"),
        ("car", "bird bird bird bird", "0.0048 0.0097 0.0089 0.0026", "-0.7108 -0.6097 0.6313"),
        ("monkey", "car deer car monkey", "0.0855 0.0896 0.1559 0.1979", "-0.0584 -0.6076 -0.8505"),
    ),
)  # fmt: skip
