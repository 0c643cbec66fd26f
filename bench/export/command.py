"""The `lightning export` command."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.command_line.arguments import count
from bench.command_line.ending import OneLineParser


def main(args: Sequence[str]) -> None:
    """Run `lightning export`.

    Args:
        args: What follows `export` on the command line.

    Raises:
        UserError: The data cannot be had, or the folder holds something else.
    """
    options, rest = _parse(args)
    from tqdm import tqdm

    from bench.command_line.data import configured
    from bench.export.writing import export

    def progress(images: Iterable[Any], total: int, done: int) -> Iterator[Any]:
        return iter(tqdm(images, desc="Export", unit="image", total=total, initial=done, disable=None))

    data = configured(options.config, rest, "export")
    manifest = export(data, options.output, progress)
    if options.shards:
        from bench.export.packing import pack

        def shards(several: Iterable[Any], total: int, done: int) -> Iterator[Any]:
            return iter(tqdm(several, desc="Packing", unit="shard", total=total, initial=done, disable=None))

        pack(options.output, options.shards, shards)
    for image in data.unreadable.values():
        print(f"left out: {image.path or image.index}: {image.reason}")
    images = len(data.positions) - len(data.unreadable)
    print(
        f"{images} images in {len(manifest.views)} views written to {options.output}\n"
        f"lightning test --config view_folders --data.root {options.output} measures an encoder on them"
    )


def _parse(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = OneLineParser(
        prog="lightning export",
        description="Write every view of a data set as files, once: for other programs, and for runs that need not "
        "degrade again. The same command again goes on where it stopped.",
        epilog="Other options, such as --data.root data or --data.degradations '[webp-50]', are those of the "
        "configuration's data.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, help="YAML whose `data` is exported, or the name of one: cifar10")
    parser.add_argument("--output", type=Path, required=True, help="folder to write into")
    parser.add_argument(
        "--shards", type=count, metavar="IMAGES", help="tar shards of so many images in place of files, for each view"
    )
    return parser.parse_known_args(args)
