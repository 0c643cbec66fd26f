"""Where the files of a tar archive lie, read from its headers: nothing is unpacked, no link is followed."""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_BLOCK = tarfile.BLOCKSIZE
_LARGEST = 2**30  # bytes of a file that is taken for an image
_LONGEST_HEADER = 2**16  # bytes that may describe a file
_LONGEST_NAME = 1024
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_KINDS = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: As it is written there.
        offset: Of its first byte.
        size: Its bytes.
    """

    name: str
    offset: int
    size: int


class TarError(ValueError):
    """An archive that is none, or holds something else than files, in words."""


def members(archive: BinaryIO, length: int) -> Iterator[Member]:
    """The files of an uncompressed tar archive, in order.

    Headers are read by the standard library's `TarInfo`; what says how the next one is to be read (names that are too
    long for a header, POSIX attributes) is bounded, and only names and sizes are heeded. Every step goes forward.

    Args:
        archive: Opened.
        length: Its bytes.

    Raises:
        TarError: A header is damaged, the archive is cut short, or holds a link, a device or a file with holes.
    """
    position, further = 0, dict[str, str]()
    while True:
        archive.seek(position)
        block = archive.read(_BLOCK)
        if block == bytes(_BLOCK):
            return
        if len(block) < _BLOCK:
            raise TarError(f"it is cut short: its end is missing behind byte {position:,}")
        header = _header(block, position)
        size, start = _size(header.size, further, position), position + _BLOCK
        if start + size > length:
            raise TarError(f"it is cut short: {_short(header.name)} ends beyond it")
        position = start + -(-size // _BLOCK) * _BLOCK
        if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            if size > _LONGEST_HEADER:
                raise TarError(f"a header has {size:,} bytes")
            content = archive.read(size)
            if header.type == tarfile.GNUTYPE_LONGNAME:
                further = {"path": content.rstrip(b"\0").decode("utf-8", "surrogateescape")}
            elif header.type == tarfile.XHDTYPE:
                further = _attributes(content)
            continue
        name, further = further.get("path", header.name), {}
        if len(name) > _LONGEST_NAME:
            raise TarError(f"a name has {len(name):,} characters")
        if header.type in _FILES:
            if size > _LARGEST:
                raise TarError(f"{_short(name)} has {size:,} bytes, more than {_LARGEST:,}")
            yield Member(name, start, size)
        elif header.type != tarfile.DIRTYPE:
            raise TarError(f"{_short(name)} is {_KINDS.get(header.type, 'no ordinary file')}")


def _header(block: bytes, position: int) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        what = "it is no uncompressed tar archive" if position == 0 else f"it is damaged at byte {position:,}"
        raise TarError(f"{what} ({error})") from None
    if header.size < 0:
        raise TarError(f"it is damaged at byte {position:,} (a negative size)")
    return header


def _size(own: int, further: dict[str, str], position: int) -> int:
    """A file's bytes, of which those beyond 8 GiB are among the attributes."""
    text = further.get("size")
    if text is None:
        return own
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise TarError(f"it is damaged at byte {position:,} (a size that is no number)")
    return int(text)


def _attributes(content: bytes) -> dict[str, str]:
    """What POSIX attributes say about the next file: a line "LENGTH KEY=VALUE" each."""
    found, position = {}, 0
    while position < len(content):
        digits, space, _ = content[position : position + 20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = content[position : position + length]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if not equals or not record.endswith(b"\n") or position + length > len(content):
            raise TarError("an attribute is damaged")
        if key.startswith(b"GNU.sparse"):
            raise TarError("a file in it has holes")
        if key in (b"path", b"size"):
            found[key.decode()] = value[:-1].decode("utf-8", "surrogateescape")
        position += length
    return found


def _short(name: str) -> str:
    return repr(name[:60])
