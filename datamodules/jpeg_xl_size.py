"""The size that a JPEG XL file claims, without a decoder: Pillow's plugin decodes all pixels before Pillow sees it."""

from typing import BinaryIO

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_HEADER = 16  # bytes, more than a size takes
_MOST_BOXES, _LARGEST = 1_000, 2**40  # bytes
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_LENGTHS = (9, 13, 18, 30)  # bits


class _Bits:
    """Numbers from bytes, the lowest bit first."""

    def __init__(self, content: bytes) -> None:
        self.left = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        value, self.left = self.left & ((1 << count) - 1), self.left >> count
        return value


def claimed_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height in pixels of an opened JPEG XL file; None of any other, and of one without pixels.

    The header is that of ISO/IEC 18181-1, the boxes around it of 18181-2. The file is left where it was.
    """
    start = file.tell()
    try:
        beginning = file.read(len(_CONTAINER))
        if beginning.startswith(_CODESTREAM):
            file.seek(start)
            return _size(file.read(_HEADER))
        return _size(_codestream(file)) if beginning == _CONTAINER else None
    finally:
        file.seek(start)


def _codestream(file: BinaryIO) -> bytes:
    """The beginning of what the first box with pixels holds; nothing where there is none."""
    for _ in range(_MOST_BOXES):
        place, head = file.tell(), file.read(8)
        length, kind = int.from_bytes(head[:4]), head[4:]
        if len(head) < 8:
            break
        if length == 1:
            length = int.from_bytes(file.read(8))
        if kind == b"jxlc":
            return file.read(_HEADER)
        if kind == b"jxlp":
            return file.read(4 + _HEADER)[4:]  # after its number
        if not 8 <= length < _LARGEST:  # 0: it goes to the end
            break
        file.seek(place + length)
    return b""


def _size(codestream: bytes) -> tuple[int, int] | None:
    if not codestream.startswith(_CODESTREAM):
        return None
    bits = _Bits(codestream[len(_CODESTREAM) :])
    small = bits.take(1)

    def side() -> int:
        return 8 * (bits.take(5) + 1) if small else bits.take(_LENGTHS[bits.take(2)]) + 1

    height = side()
    across, down = _RATIOS[bits.take(3)]
    return (height * across // down if across else side()), height
