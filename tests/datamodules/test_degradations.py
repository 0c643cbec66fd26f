from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datamodules.degradations import DEFAULT_DEGRADATIONS, Jpeg, Original, parse, parse_all
from datamodules.errors import UserError

QUALITIES = (*range(1, 101, 9), 25, 50, 75, 95, 99)
PILLOW_SUBSAMPLING = {"444": 0, "422": 1, "420": 2}


def photo(width=37, height=23, seed=0):
    """Smooth colours with some noise: an image on which quality and subsampling both matter."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    return Image.fromarray((smooth + rng.integers(-20, 21, smooth.shape)).clip(0, 255).astype(np.uint8))


def pillow_jpeg(image, **options):
    buffer = BytesIO()
    image.save(buffer, format="JPEG", **options)
    return np.asarray(Image.open(BytesIO(buffer.getvalue()))), len(buffer.getvalue())


@pytest.mark.parametrize("quality", QUALITIES)
def test_jpeg_is_pillows_round_trip_pixel_for_pixel_and_byte_for_byte(quality):
    pixels, size = pillow_jpeg(photo(), quality=quality)
    degraded = parse(f"jpeg-{quality}")(photo())
    assert degraded.image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(degraded.image), pixels)
    assert degraded.encoded_bytes == size


@pytest.mark.parametrize("subsampling", PILLOW_SUBSAMPLING)
@pytest.mark.parametrize("quality", [1, 50, 75, 100])
def test_jpeg_subsampling_is_pillows(quality, subsampling):
    pixels, size = pillow_jpeg(photo(), quality=quality, subsampling=PILLOW_SUBSAMPLING[subsampling])
    degraded = parse(f"jpeg-{quality}-{subsampling}")(photo())
    np.testing.assert_array_equal(np.asarray(degraded.image), pixels)
    assert degraded.encoded_bytes == size


@pytest.mark.parametrize("quality", [1, 50, 75, 100])
def test_default_subsampling_is_420_and_no_other(quality):
    default, *others = (
        np.asarray(parse(f"jpeg-{quality}{suffix}")(photo()).image) for suffix in ("", "-420", "-422", "-444")
    )
    assert [np.array_equal(default, other) for other in others] == [True, False, False]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (8, 8), (17, 16)])
def test_jpeg_keeps_size_and_leaves_its_argument_alone(size):
    image = photo(*size)
    before = image.tobytes()
    assert Jpeg(10)(image).image.size == size
    assert image.tobytes() == before


def test_original_is_the_image_itself_and_encodes_nothing():
    image = photo()
    degraded = Original()(image)
    assert degraded.image is image
    assert degraded.encoded_bytes is None


@pytest.mark.parametrize("size", [(65501, 1), (1, 65536)])
def test_jpeg_refuses_sides_that_the_codec_cannot_hold(size, capfd):
    with pytest.raises(ValueError, match=rf"{size[0]} x {size[1]} pixels: JPEG holds at most 65500"):
        Jpeg(75)(Image.new("RGB", size))
    assert capfd.readouterr().err == ""


def test_jpeg_takes_the_longest_side_that_the_codec_can_hold():
    assert Jpeg(75)(Image.new("RGB", (65500, 1))).image.size == (65500, 1)


@pytest.mark.parametrize(
    "spec",
    ["original", *(f"jpeg-{q}" for q in range(1, 101)), *(f"jpeg-75-{s}" for s in PILLOW_SUBSAMPLING)],
)
def test_name_is_the_specification(spec):
    degradation = parse(spec)
    assert degradation.name == spec
    assert parse(degradation.name) == degradation


def parses_or_explains(spec):
    try:
        outcome = parse(spec).name
    except UserError as error:
        outcome = str(error)
    assert outcome == spec or (repr(spec) in outcome and len(outcome.splitlines()) == 1)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text())
def test_any_text_parses_to_its_name_or_is_refused_in_one_line(spec):
    parses_or_explains(spec)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["original", "jpeg", "jpg", "-", "+", "0", "1", "75", "100", "101", "444", "411", " ", "\n", "٣"]
        ),
        max_size=6,
    ).map("".join)
)
def test_near_misses_parse_to_their_name_or_are_refused_in_one_line(spec):
    parses_or_explains(spec)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("jpeg-0", "quality 0 is out of range, choose 1 to 100"),
        ("jpeg-101", "quality 101 is out of range, choose 1 to 100"),
        ("jpeg-" + "9" * 5000, "out of range, choose 1 to 100"),
        ("jpeg-75-411", "unknown chroma subsampling 411, choose from 444, 422, 420"),
        ("jpeg-075", "malformed: write jpeg-QUALITY"),
        ("jpeg-75\n", "malformed: write jpeg-QUALITY"),
        ("jpeg", "malformed: write jpeg-QUALITY"),
        ("jpg-75", "unknown degradation 'jpg-75': choose from original, jpeg-QUALITY"),
        ("", "unknown degradation '': choose from original, jpeg-QUALITY"),
    ],
)
def test_a_wrong_specification_is_named_with_its_mend(spec, complaint):
    with pytest.raises(UserError) as caught:
        parse(spec)
    assert complaint in str(caught.value)
    assert repr(spec) in str(caught.value)


@pytest.mark.parametrize(
    "specs", [[], ["jpeg-9", "jpeg-3"], ["jpeg-9", "original", "jpeg-3"], ["original", "jpeg-9"], ["original"]]
)
def test_original_comes_first_whether_listed_or_not(specs):
    wanted = ["original", *(spec for spec in specs if spec != "original")]
    assert [degradation.name for degradation in parse_all(specs)] == wanted


def test_default_views_are_the_papers():
    assert DEFAULT_DEGRADATIONS == ("original", "jpeg-75", "jpeg-50", "jpeg-25")


@pytest.mark.parametrize("specs", [["jpeg-5", "jpeg-5"], ["original", "original"]])
def test_a_view_listed_twice_is_refused(specs):
    with pytest.raises(UserError, match=f"'{specs[0]}' is listed twice: list each view once"):
        parse_all(specs)


def test_one_text_in_place_of_a_list_is_refused():
    with pytest.raises(UserError, match=r"'jpeg-75' is one text: write a list"):
        parse_all("jpeg-75")
