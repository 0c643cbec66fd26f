"""What is measured of every view of a batch, image by image."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from bench.fidelity import bits_per_pixel, fidelity
from bench.outcomes import Outcomes
from datamodules.degradations import ORIGINAL, is_cropped
from datamodules.views import Batch, Images


def classify_views(
    batch: Batch,
    embed: Callable[[str, Images], Tensor],
    classify: Callable[[Tensor], Tensor],
    *,
    with_fidelity: bool,
    originals: Images | None = None,
) -> Outcomes:
    """Classify every view of a batch: rows on the batch's device, one view after the other.

    Args:
        batch: B images.
        embed: From the name of a view and its images to unit embeddings, float32 [B, D].
        classify: From unit embeddings [N, D] to class logits, float [N, C].
        with_fidelity: Whether PSNR and SSIM of the degraded views are measured.
        originals: What they are measured against, where it is not the batch's own original.
    """
    views = list(batch.views)
    embeddings = torch.stack([embed(view, images) for view, images in batch.views.items()])
    encoded_bytes = torch.stack([batch.encoded_bytes[view] for view in views])
    original = views.index(ORIGINAL)
    cosine = (embeddings * embeddings[original]).sum(2).clamp_(-1, 1)
    cosine[original] = torch.nan
    measured = {
        "encoded_bytes": encoded_bytes.flatten(),
        "bits_per_pixel": bits_per_pixel(encoded_bytes, batch.sizes[ORIGINAL]).flatten(),
        "cosine": cosine.flatten(),
    }
    if batch.codec_ms:
        times = torch.cat([batch.codec_ms[view] for view in views])
        measured |= {"encode_ms": times[:, 0], "decode_ms": times[:, 1]}
    if with_fidelity:
        pairs = [_fidelity(batch, view, originals) for view in views]
        measured |= {
            name: torch.cat(column) for name, column in zip(("psnr", "ssim"), zip(*pairs, strict=True), strict=True)
        }
    logits = classify(embeddings.flatten(0, 1))
    return Outcomes.from_logits(logits, batch.labels.repeat(len(views)), batch.indices.repeat(len(views)), **measured)


def _fidelity(batch: Batch, view: str, originals: Images | None) -> Iterable[Tensor]:
    """Where the native pixels were: in the loader if it made them smaller, else here; NaN of another part."""
    if view == ORIGINAL or is_cropped(view):
        return torch.full((2, len(batch)), torch.nan, device=batch.labels.device)
    if batch.fidelity is not None:
        return batch.fidelity[view].unbind(1)
    return fidelity(batch.views[ORIGINAL] if originals is None else originals, batch.views[view])
