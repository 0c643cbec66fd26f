"""The `lightning tables` command."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.command_line.arguments import whole
from bench.command_line.ending import OneLineParser
from datamodules.errors import UserError
from datamodules.text import printable

if TYPE_CHECKING:
    from bench.tables.tuning import Pictures
    from datamodules.base import DegradedDataModule
    from datamodules.views import Sample

_SCALES = (10, 25, 50, 75, 90)
_SHOWN = 80  # characters of a name
_LEAST_IMAGES = 4


def main(args: Sequence[str]) -> None:
    """Run `lightning tables`.

    Args:
        args: What follows `tables` on the command line.

    Raises:
        UserError: The configuration, an option or a file cannot be used.
    """
    parser = OneLineParser(
        prog="lightning tables",
        description="JPEG quantisation tables that cost an encoder less than the standard ones at the same bytes.",
        epilog="Encoder and images are those of the configuration, changed by --model.encoder, .pretrained, "
        ".activation, .templates and by --data.OPTION; images are of the train split unless --data.split says so.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", help="YAML with model and data, or the name of one: cifar10")
    parser.add_argument("--show", type=Path, metavar="FILE", help="draw the tables of a file beside the standard ones")
    parser.add_argument("--output", type=Path, default=Path("tables.json"), help="file (default: tables.json)")
    parser.add_argument("--name", help="of the tables, in views' names (default: the file's name)")
    parser.add_argument(
        "--scales",
        default=",".join(map(str, _SCALES)),
        help="qualities of the standard tables whose bytes are allowed (default: %(default)s)",
    )
    parser.add_argument("--images", type=whole, default=1000, help="to search on; as many are held out (default: 1000)")
    parser.add_argument(
        "--generations", type=whole, default=4, help="of the search, 8 tables each; 0: power laws (default: 4)"
    )
    parser.add_argument(
        "--distortion",
        choices=["prediction", "embedding", "loss"],
        default="prediction",
        help="held small: divergence of predictions, 1 - cosine of embeddings, or loss, which needs labels "
        "(default: prediction)",
    )
    parser.add_argument(
        "--subsampling", choices=["any", "4:2:0", "4:4:4"], default="any", help="of chroma (default: any, by trial)"
    )
    parser.add_argument("--two-tables", action="store_true", help="never one table for luma and chroma")
    parser.add_argument("--seed", type=whole, default=0, help="of choice and search (default: 0)")
    words, rest = _apart(args)
    options = parser.parse_args(words)
    if (options.show is None) == (options.config is None):
        parser.error("give --config to make tables, or --show FILE to look at some")
    if options.show is not None:
        if rest:
            parser.error(f"{rest[0]!r} does not go with --show")
        _show(options.show)
        return
    _make(options, rest)


def _make(options: Any, rest: Sequence[list[str]]) -> None:
    from datamodules.degradations.quantisation import SUBSAMPLINGS, trouble_with_name

    name = re.sub(r"[^A-Za-z0-9._]+", "_", options.output.stem).strip("._") if options.name is None else options.name
    if trouble := trouble_with_name(name):
        raise UserError(f"--name {name[:_SHOWN]!r} cannot be used: {trouble}")
    scales = _scales(options.scales)
    if options.images < _LEAST_IMAGES:
        raise UserError(f"--images {options.images} is too few: give at least {_LEAST_IMAGES}")
    from bench.command_line.data import configured

    encoder = _model(options.config, [word for group in rest if group[0].startswith("--model.") for word in group])
    data = [word for group in rest if group[0].startswith("--data.") for word in group]
    if not any(word.partition("=")[0] == "--data.split" for word in data):
        data += ["--data.split", "train"]
    images = configured(options.config, data, "tables")
    if options.distortion == "loss" and not images.labelled:
        raise UserError("--distortion loss needs labels, and the images have none: choose prediction or embedding")
    import torch
    from tqdm import tqdm

    from bench.clip.encoders import load_encoder
    from bench.clip.templates import read_templates, templates_of
    from bench.clip.zero_shot import ZeroShotClassifier
    from bench.runs.files import write_atomically
    from bench.runs.json_values import as_text
    from bench.tables.search import trials
    from bench.tables.tuning import Settings, tune
    from datamodules.allocation import keep_freed_memory

    pictures = _pictures(images, options.images, options.seed)
    templates = read_templates(encoder["templates"]) or templates_of(images)
    loaded = load_encoder(encoder["encoder"], encoder["pretrained"], encoder["activation"])
    classifier = ZeroShotClassifier(loaded, images.class_names, templates)
    classifier = classifier.to("cuda" if torch.cuda.is_available() else "cpu")
    keep_freed_memory()
    kinds = SUBSAMPLINGS if options.subsampling == "any" else (options.subsampling,)
    settings = Settings(scales, options.generations, options.distortion, kinds, not options.two_tables, options.seed)
    described = {**loaded.provenance(), "templates": list(templates)}
    total = trials(kinds, settings.shared, len(scales), settings.generations)
    with tqdm(total=total, desc="Tables", unit="trial", disable=None) as bar:
        found = tune(classifier, described, pictures, settings, options.output, name, bar.update)
    write_atomically(options.output, as_text(found.to_json(), depth=4))
    for image in images.unreadable.values():
        print(printable(f"left out: {image.path or image.index}: {image.reason}"))
    for scale, account in found.card["scales"].items():
        tuned, standard = account["tuned"]["held_out"], account["standard"]["held_out"]
        print(
            f"{scale}: {tuned['encoded_bytes']:.0f} bytes, distortion {tuned['distortion']:.4f}; standard tables "
            f"{standard['encoded_bytes']:.0f} bytes, {standard['distortion']:.4f} (images held out)"
            + ("" if tuned["distortion"] < standard["distortion"] else "; NO BETTER: search on more images")
        )
    print(
        printable(f"written to {options.output}; views: jpeg-tables-{name}-SCALE with --data.tables {options.output}")
    )


def _show(file: Path) -> None:
    from bench.figures.quantisation import table_pictures
    from bench.tables.usage import STANDARD, cjpeg_text, pillow_snippet, side_by_side
    from datamodules.degradations.quantisation import family, read_tables

    found = read_tables(file)
    picture = file.with_suffix(".png")
    table_pictures(found.scales, family(STANDARD).scales, found.name).savefig(picture, dpi=120)
    scale = max(found.scales)
    print(side_by_side(found))
    print(printable(f"drawn in {picture}\n\nWith Pillow:\n\n").replace("\\n", "\n") + pillow_snippet(scale, file.name))
    print(f"\nFor cjpeg, scale {scale}:\n\n{cjpeg_text(found.at(scale))}")


def _apart(args: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Words of the command, and options of model and data, each with its value."""
    words: list[str] = []
    rest: list[list[str]] = []
    wanted = False
    for word in args:
        if wanted:
            rest[-1].append(word)
            wanted = False
        elif word.startswith(("--data.", "--model.")):
            rest.append([word])
            wanted = "=" not in word
        else:
            words.append(word)
    return words, rest


def _model(config: str, words: Sequence[str]) -> dict[str, Any]:
    """Encoder, weights, activation and templates of a configuration's model."""
    from bench.command_line.configs import find_config, read_config
    from bench.command_line.yaml_text import read_options
    from bench.paper import TEMPLATE

    content = read_config(find_config(config)).get("model")
    given = content.get("init_args") if isinstance(content, dict) else None
    model: dict[str, Any] = {
        "encoder": "ViT-B/32",
        "pretrained": "openai",
        "activation": None,
        "templates": (TEMPLATE,),
    }

    def option_of_model(_: str, name: str) -> str:
        key = name.removeprefix("--model.")
        if key not in model:
            raise UserError(f"{name} is no option of `lightning tables`: choose from {', '.join(model)}")
        return key

    model |= {key: value for key, value in (given or {}).items() if key in model}
    return model | read_options(words, option_of_model)


def _pictures(data: "DegradedDataModule", images: int, seed: int) -> "Pictures":
    """Readable images drawn from a split without replacement, half of them held out."""
    import numpy as np

    from bench.tables.tuning import Pictures
    from datamodules.degradations import ORIGINAL
    from datamodules.pixels import picture

    name, positions = f"{data.dataset_name}/{data.split}", data.positions
    drawn = [positions[int(place)] for place in np.random.default_rng(seed).permutation(len(positions))]
    loaded, labels = [], []
    for sample in islice(_readable(data, drawn), 2 * images):
        loaded.append(picture(sample.pixels[ORIGINAL]))
        labels.append(sample.label)
    count = len(loaded) // 2
    if count < _LEAST_IMAGES // 2:
        raise UserError(f"{name} has {len(loaded)} readable images here: tables need at least {_LEAST_IMAGES}")
    origin = {
        "name": name,
        "content": data.chosen.content(),
        "class_names": list(data.class_names),
        "seed": seed,
        "images": count,
        "unreadable": sorted(data.unreadable),
    }
    return Pictures(loaded[:count], loaded[count : 2 * count], labels[: 2 * count], origin)


def _readable(data: "DegradedDataModule", positions: Sequence[int]) -> "Iterator[Sample]":
    """Images without their views, one by one; of those that cannot be read `on_error` decides."""
    from datamodules.views import Unreadable

    originals = data.views_of(positions, views=())
    for place in range(len(positions)):
        image = originals[place]
        if isinstance(image, Unreadable):
            data.leave_out(image)
        elif image is not None:
            yield image


def _scales(text: str) -> tuple[int, ...]:
    from datamodules.degradations.quantisation import SCALE

    parts = text.split(",")
    if not all(re.fullmatch(SCALE, part) for part in parts) or len(set(parts)) < len(parts):
        raise UserError(f"--scales {text!r} is no list: give different whole numbers from 1 to 100, such as 25,50,75")
    return tuple(map(int, parts))
