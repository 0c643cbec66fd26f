"""Specifications: which are accepted, what they are called, what they expand to, which curves they lie on."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.degradations import DEFAULT_DEGRADATIONS, MOST_VIEWS, curves, parse, parse_all
from datamodules.degradations.base import halves_chroma
from datamodules.errors import UserError

VALID = [
    "original",
    *(f"jpeg-{quality}" for quality in range(1, 101)),
    *(f"jpeg-75-{subsampling}" for subsampling in ("444", "422", "420")),
    *("jpeg-75-progressive", "jpeg-75-optimise", "jpeg-75-x5", "jpeg-75-x100-shift15"),
    "jpeg-75-444-progressive-optimise-x5-shift3",
    *("jpeg-tables-mozjpeg1-1", "jpeg-tables-mine-100", "jpeg-tables-cifar10.vit_b32-50+jpeg-75"),
    *("cifar10c-jpeg-1", "cifar10c-jpeg-5", "imagenetc-jpeg-1", "imagenetc-jpeg-5"),
    *("webp-0", "webp-100", "webp-lossless", "avif-0", "avif-100"),
    *("jp2-ratio-20", "jp2-ratio-2.5", "jp2-ratio-1000", "jp2-psnr-35", "jp2-psnr-37.5"),
    *("jpeg-0.5bpp", "jpeg-8bpp-444-optimise", "webp-0.25bpp", "resize-0.5+avif-1.5bpp"),
    *("jxl-0", "jxl-99", "heic-0", "heic-100"),
    *("resize-0.01", "resize-0.5", "downup-0.99", "blur-0.2", "blur-20", "blur-1.5", "noise-0.001", "noise-1"),
    *("resize-8", "resize-4096", "crop-8", "crop-4096", "resize-256+crop-224+imagenetc-jpeg-3+jpeg-85-optimise"),
    *("resize-0.5+jpeg-50", "blur-1+noise-0.05+webp-lossless", "jpeg-50+jpeg-50"),
]


@pytest.mark.parametrize("spec", VALID)
def test_name_is_the_specification(spec):
    degradation = parse(spec)
    assert degradation.name == spec
    assert parse(degradation.name) == degradation
    assert hash(parse(degradation.name)) == hash(degradation)


def test_tensorboard_keeps_names_as_they_are(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    tags = [f"test/precision/{spec}" for spec in VALID]
    with SummaryWriter(str(tmp_path)) as writer:
        for tag in tags:
            writer.add_scalar(tag, 1.0)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["scalars"]) == sorted(tags)


def outcome(function, argument):
    """What a function makes of its argument, or the message it refuses it with."""
    try:
        return function(argument)
    except UserError as error:
        return str(error)


def parses_or_explains(spec):
    parsed = outcome(parse, spec)
    if isinstance(parsed, str):
        assert repr(spec) in parsed
        assert len(parsed.splitlines()) == 1
    else:
        assert parsed.name == spec
        assert re.fullmatch("[A-Za-z0-9_.+-]{1,100}", spec)


def expands_or_explains(specs):
    parsed = outcome(parse_all, specs)
    if isinstance(parsed, str):
        assert len(parsed.splitlines()) == 1
    else:
        views = [degradation.name for degradation in parsed]
        assert views[0] == "original"
        assert len(set(views)) == len(views) <= MOST_VIEWS + 1
        assert [parse(view).name for view in views] == views
        assert {view for points in curves(views).values() for _, view in points} <= set(views)


PIECES = st.sampled_from(
    [
        *(
            "original",
            "jpeg",
            "jpg",
            "webp",
            "webp-lossless",
            "avif",
            "jp2-ratio",
            "jp2-psnr",
            "resize",
            "crop",
            "blur",
        ),
        *("noise", "cifar10c-jpeg", "-", "-", "-", "+", "+", ".", "..", "{", "}", ",", "{90,50}", "{95..5..-10}"),
        *("{1..999999999}", "{0..9}", "0", "1", "0.5", ".5", "75", "050", "100", "101", "1e5", "inf", "nan", "444"),
        *("x5", "shift3", "progressive", "optimise", " ", "\n", "٣", "²", "\0", "\ud800"),
    ]
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text())
def test_any_text_parses_to_its_name_or_is_refused_in_one_line(spec):
    parses_or_explains(spec)
    expands_or_explains([spec])


@settings(deadline=None, max_examples=400)
@given(st.lists(PIECES, max_size=9).map("".join))
def test_near_misses_parse_to_their_name_or_are_refused_in_one_line(spec):
    parses_or_explains(spec)
    expands_or_explains([spec])


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(VALID), st.integers(0, 60), st.integers(0, 3), PIECES | st.text(max_size=3))
def test_mutants_parse_to_their_name_or_are_refused_in_one_line(spec, place, cut, inserted):
    mutant = spec[:place] + inserted + spec[place + cut :]
    parses_or_explains(mutant)
    expands_or_explains([mutant, "original"])


@settings(deadline=None)
@given(st.lists(st.sampled_from(VALID[1:]), min_size=2, max_size=12).map("+".join))
def test_chains_parse_to_their_name_or_are_refused_in_one_line(spec):
    parses_or_explains(spec)


@settings(deadline=None)
@given(st.integers(1, 100), st.integers(1, 100), st.none() | st.integers(-120, 120).filter(bool))
def test_ranges_are_those_of_bash(first, last, step):
    size = abs(step or 1)
    whole = range(first, last + 1, size) if first <= last else range(first, last - 1, -size)
    suffix = "" if step is None else f"..{step}"
    views = [degradation.name for degradation in parse_all([f"jpeg-{{{first}..{last}{suffix}}}"])]
    assert views == ["original", *(f"jpeg-{quality}" for quality in whole)]


@pytest.mark.parametrize(
    ("spec", "views"),
    [
        ("jpeg-{95..5..-30}", ["jpeg-95", "jpeg-65", "jpeg-35", "jpeg-5"]),
        ("jpeg-{95..5..30}", ["jpeg-95", "jpeg-65", "jpeg-35", "jpeg-5"]),
        ("jpeg-{10..35..20}", ["jpeg-10", "jpeg-30"]),
        ("jpeg-{90,50,10}", ["jpeg-90", "jpeg-50", "jpeg-10"]),
        ("jpeg-75{,-444}", ["jpeg-75", "jpeg-75-444"]),
        ("{jpeg,webp}-{75,50}", ["jpeg-75", "jpeg-50", "webp-75", "webp-50"]),
        ("resize-0.{25,5}+jpeg-50", ["resize-0.25+jpeg-50", "resize-0.5+jpeg-50"]),
        ("jpeg-7{5..5}", ["jpeg-75"]),
    ],
)
def test_braces_stand_for_views(spec, views):
    assert [degradation.name for degradation in parse_all([spec])] == ["original", *views]


def test_a_single_specification_needs_no_list():
    assert parse_all("jpeg-75") == parse_all(["jpeg-75"])
    assert parse_all("jpeg-{75,50}") == parse_all(["jpeg-75", "jpeg-50"])


@pytest.mark.parametrize(
    ("specs", "complaint"),
    [
        (["jpeg-{1..999999999}"], "'jpeg-{1..999999999}' is more than 200 views: take larger steps"),
        (["jpeg-{1,2}" * 4000], "is more than 200 views"),
        (["jpeg-{1..100}", "webp-{0..100}"], "the degradations are 201 views: a run holds at most 200"),
        (["jpeg-{1..9999999999}"], "'1..9999999999' is no range, write one like {95..5..10} or {90,50}"),
        (["jpeg-{5}"], "'5' is no range"),
        (["jpeg-{1..9..0}"], "'1..9..0' is no range"),
        (["jpeg-{01..10}"], "'01..10' is no range"),
        (["jpeg-{-5..5}"], "'-5..5' is no range"),
        (["jpeg-{\n}"], r"'\n' is no range"),
        (["jpeg-{1..5"], "'jpeg-{1..5' is malformed"),
        (["jpeg-{98..102}"], "'jpeg-101': JPEG quality 101 is out of range"),
        (["jpeg-{5,50..60}"], "'jpeg-50..60' is malformed"),
        (["jpeg-{70..80..5}", "jpeg-75"], "'jpeg-75' is listed twice: list each view once"),
        (["jpeg-{5,5}"], "'jpeg-5' is listed twice"),
        (["jpeg-5", "jpeg-5"], "'jpeg-5' is listed twice"),
        (["original", "original"], "'original' is listed twice"),
        ("", "unknown degradation ''"),
    ],
)
def test_a_wrong_list_is_refused_in_one_line(specs, complaint):
    with pytest.raises(UserError) as caught:
        parse_all(specs)
    assert complaint in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("jpeg-0", "JPEG quality 0 is out of range, choose 1 to 100"),
        ("jpeg-101", "JPEG quality 101 is out of range, choose 1 to 100"),
        ("jpeg-" + "9" * 5000, "out of range, choose 1 to 100"),
        ("jpeg-75-411", "unknown chroma subsampling 411, choose from 444, 422, 420"),
        ("jpeg-75-x0", "number of saves 0 is out of range, choose 1 to 100"),
        ("jpeg-75-x101", "number of saves 101 is out of range"),
        ("jpeg-75-x2-shift16", "shift 16 is out of range, choose 1 to 15"),
        ("jpeg-75-shift3", "malformed: write jpeg-QUALITY[-444|-422|-420]"),
        ("jpeg-75-optimise-progressive", "malformed: write jpeg-QUALITY"),
        ("jpeg-75\n", "malformed: write jpeg-QUALITY"),
        ("jpeg", "malformed: write jpeg-QUALITY"),
        ("original-5", "malformed: write original"),
        ("webp-lossless-5", "malformed: write webp-lossless"),
        ("webp-lossles", "malformed: write webp-QUALITY"),
        ("webp-101", "webp quality 101 is out of range, choose 0 to 100"),
        ("webp-50.5", "webp quality 50.5 is not whole, choose an integer"),
        ("jxl-100", "jxl quality 100 is out of range, choose 0 to 99"),
        ("cifar10c-jpeg-6", "cifar10c-jpeg severity 6 is out of range, choose 1 to 5"),
        ("resize-1", "1 is neither a factor nor a shorter side: choose 0.01 to 0.99, or 8 to 4096 whole pixels"),
        ("resize-256.5", "256.5 is neither a factor nor a shorter side"),
        ("resize-4097", "resize to 4097 is out of range, choose 0.01 to 4096"),
        ("crop-7", "crop side 7 is out of range, choose 8 to 4096"),
        ("crop-22.4", "crop side 22.4 is not whole"),
        ("blur-0", "blur sigma 0 is out of range, choose 0.2 to 20"),
        ("noise-5e-2", "malformed: write noise-DEVIATION"),
        ("noise-1.5", "noise deviation 1.5 is out of range, choose 0.001 to 1"),
        ("jpg-75", "unknown degradation 'jpg-75' (is it jpeg?): choose from original, jpeg-QUALITY"),
        ("JPEG-75", "unknown degradation 'JPEG-75' (is it jpeg?): choose from"),
        ("gaussian", "unknown degradation 'gaussian': choose from"),
        ("", "unknown degradation '': choose from original, jpeg-QUALITY"),
        ("jpeg-50+", "unknown degradation '': choose from original"),
        ("blur-1+jpeg-0", "JPEG quality 0 is out of range, choose 1 to 100; this is in the chain 'blur-1+jpeg-0'"),
        ("original+jpeg-50", "original does nothing in a chain, leave it out"),
        ("+".join(["jpeg-50"] * 13), "too long for a file name: stay within 100 characters"),
    ],
)
def test_a_wrong_specification_is_named_with_its_mend(spec, complaint):
    with pytest.raises(UserError) as caught:
        parse(spec)
    assert complaint in str(caught.value)
    assert repr(spec) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("jpeg-075", "jpeg-75"),
        ("jpeg-75-x1", "jpeg-75"),
        ("jpeg-75-x05", "jpeg-75-x5"),
        ("jpeg-75-x1-shift3", "jpeg-75"),
        ("webp-050", "webp-50"),
        ("webp-50.0", "webp-50"),
        ("blur-1.50", "blur-1.5"),
        ("blur-2.", "blur-2"),
        ("noise-.05", "noise-0.05"),
        ("jp2-ratio-20.0", "jp2-ratio-20"),
        ("jp2-psnr-35.0000001", "jp2-psnr-35"),
    ],
)
def test_another_spelling_is_refused_with_the_canonical_one(spec, canonical):
    with pytest.raises(UserError, match=rf"^degradation '{spec}' has one name only: write {canonical}$"):
        parse(spec)
    assert parse(canonical).name == canonical


@pytest.mark.parametrize(
    "specs", [[], ["jpeg-9", "jpeg-3"], ["jpeg-9", "original", "jpeg-3"], ["original", "jpeg-9"], ["original"]]
)
def test_original_comes_first_whether_listed_or_not(specs):
    wanted = ["original", *(spec for spec in specs if spec != "original")]
    assert [degradation.name for degradation in parse_all(specs)] == wanted


def test_default_views_are_the_papers():
    assert DEFAULT_DEGRADATIONS == ("original", "jpeg-75", "jpeg-50", "jpeg-25")


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (DEFAULT_DEGRADATIONS, {"jpeg": [(25, "jpeg-25"), (50, "jpeg-50"), (75, "jpeg-75")]}),
        (["original"], {}),
        (["jpeg-50-444"], {"jpeg-444": [(50, "jpeg-50-444")]}),
        (["jpeg-{9..8}", "webp-lossless", "no such view"], {}),
        (
            ["jpeg-75", "jpeg-75-x10", "jpeg-75-x2", "jpeg-50"],
            {
                "jpeg": [(50, "jpeg-50"), (75, "jpeg-75")],
                "jpeg-75-x": [(1, "jpeg-75"), (2, "jpeg-75-x2"), (10, "jpeg-75-x10")],
            },
        ),
        (
            ["blur-1+jpeg-50", "blur-2+jpeg-50", "blur-2+jpeg-30", "blur-3"],
            {
                "blur+jpeg-50": [(1, "blur-1+jpeg-50"), (2, "blur-2+jpeg-50")],
                "blur-2+jpeg": [(30, "blur-2+jpeg-30"), (50, "blur-2+jpeg-50")],
                "blur": [(3, "blur-3")],
            },
        ),
        (["jp2-ratio-20", "jp2-psnr-30"], {"jp2-ratio": [(20, "jp2-ratio-20")], "jp2-psnr": [(30, "jp2-psnr-30")]}),
        (
            ["cifar10c-jpeg-2", "cifar10c-jpeg-1", "heic-9", "jxl-9"],
            {
                "cifar10c-jpeg": [(1, "cifar10c-jpeg-1"), (2, "cifar10c-jpeg-2")],
                "heic": [(9, "heic-9")],
                "jxl": [(9, "jxl-9")],
            },
        ),
    ],
)
def test_views_on_a_curve_differ_in_one_number_only(views, expected):
    assert curves(views) == expected


def test_curves_of_one_quantity_can_share_an_axis():
    views = ["jpeg-75", "jpeg-75-x5", "webp-50", "blur-1", "noise-0.1", "resize-0.5+jpeg-50"]
    assert list(curves(views, "quality")) == ["webp", "resize-0.5+jpeg"]
    assert list(curves(views, "generations")) == ["jpeg-75-x"]
    assert list(curves(views, "sigma")) == ["blur"]
    assert list(curves(views, "deviation")) == ["noise"]


@pytest.mark.parametrize(
    ("spec", "halved"),
    [
        *[(spec, True) for spec in ("jpeg-50", "jpeg-50-420-x3", "cifar10c-jpeg-3", "resize-0.5+jpeg-50", "jpeg-4bpp")],
        *[(spec, False) for spec in ("jpeg-50-444", "jpeg-50-422", "jpeg-50-x2-shift3", "webp-50", "jpeg-50+webp-50")],
        *[("jpeg-tables-mozjpeg3-50", True), ("jpeg-4bpp-444", False), ("original", False)],
    ],
)
def test_chroma_is_halved_where_the_last_jpeg_is_420_on_the_images_own_grid(spec, halved):
    assert halves_chroma(parse(spec)) == halved
