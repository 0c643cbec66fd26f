"""Tar shards as webdataset's writer makes them for CLIP_benchmark: with POSIX attributes for fractional times."""

import io
import tarfile


def add(archive, name, content, mtime=1700000000.25):
    """A file in an open archive."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(content), mtime, 0o444
    archive.addfile(info, io.BytesIO(content))


def write_shards(root, samples, classes, split="test", per_shard=4, templates=("a photo of a {c}.",)):
    """Shards of samples (key, extension, bytes, label), and the texts beside them."""
    folder = root / split
    folder.mkdir(parents=True)
    starts = range(0, len(samples), per_shard)
    for number, start in enumerate(starts):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            for key, extension, content, label in samples[start : start + per_shard]:
                add(archive, f"{key}.{extension}", content)
                add(archive, f"{key}.cls", str(label).encode())
    (folder / "nshards.txt").write_text(f"{len(starts)}\n")
    (root / "classnames.txt").write_text("\n".join(classes) + "\n")
    (root / "zeroshot_classification_templates.txt").write_text("\n".join(templates) + "\n")
    return folder


def of_folder(folder):
    """The samples of a folder of class folders, keys being their paths."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    classes = sorted({path.parent.name for path in files})
    samples = [
        (path.relative_to(folder).with_suffix("").as_posix(), path.suffix[1:], path.read_bytes(),
         classes.index(path.parent.name))
        for path in files
    ]  # fmt: skip
    return samples, classes
