"""Curves of a run in TensorBoard: a card per quantity and codec, the whole as one picture, and scalars."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from torch.utils.tensorboard import SummaryWriter

from bench.figures.curves import Line, Measured, Panel, quality_card, quality_curves, rate_card, rate_curves
from bench.figures.style import codec_looks
from bench.figures.tensorboard import write_figure
from bench.runs.answer_text import cost
from bench.runs.view_record import ViewRecord
from datamodules.degradations import ORIGINAL, curves

_TITLES = {"drop": "drop (points)", "precision": "precision", "loss": "loss (nats)"}
_AS_SCALARS = ("precision", "loss")


@dataclass(frozen=True)
class RunCurves:
    """The curves of one run.

    Attributes:
        encoder: Its name.
        views: What was measured, by view.
        images: Number of images.
    """

    encoder: str
    views: Mapping[str, ViewRecord]
    images: int

    def write(self, writer: SummaryWriter) -> None:
        """Scalars `quality/<metric>/<codec>`, `rate/precision/<codec>`; images `answer/...`, `report_full_size/...`."""
        qualities = curves(self._metrics, "quality")
        for codec, points in qualities.items():
            self._write_scalars(writer, codec, points)
            for quantity in _TITLES:
                panel = self._panel(quantity, codec, points)
                card = quality_card(panel, self._statement(quantity, points[0][1]))
                write_figure(writer, f"answer/{quantity}/{codec}", card)
        if qualities:
            panels = [self._panel(quantity, *codec) for quantity in _TITLES for codec in qualities.items()]
            write_figure(writer, "report_full_size/curves", quality_curves(panels))
        self._write_rates(writer)

    @cached_property
    def _metrics(self) -> dict[str, Mapping[str, float]]:
        return {view: found.metrics for view, found in self.views.items()}

    def _write_scalars(self, writer: SummaryWriter, codec: str, points: list[tuple[float, str]]) -> None:
        for metric in _AS_SCALARS:
            for quality, view in points:
                writer.add_scalar(f"quality/{metric}/{codec}", self._metrics[view][metric], int(quality))
            for quality in {points[0][0], points[-1][0]}:
                writer.add_scalar(f"quality/{metric}/original", self._metrics[ORIGINAL][metric], int(quality))

    def _write_rates(self, writer: SummaryWriter) -> None:
        from bench.statistics.rate_curves import codec_curves, setting  # imports pandas

        bits = {view: of["bits_per_pixel"] for view, of in self._metrics.items() if "bits_per_pixel" in of}
        rates = codec_curves(bits)
        for codec, settings in rates.items():
            for view in settings:
                size = round(self._metrics[view]["encoded_bytes"])
                writer.add_scalar(f"rate/precision/{codec}", self._metrics[view]["precision"], size)
        if not rates:
            return
        looks = codec_looks(list(rates))
        lines = [
            Line(
                codec,
                [(bits[view], replace(self._measured("precision", view), name=setting(view))) for view in settings],
                look=look,
            )
            for (codec, settings), look in zip(rates.items(), looks.values(), strict=True)
        ]
        panel = Panel(self.encoder, lines, original=self._measured("precision", ORIGINAL))
        write_figure(writer, "report_full_size/rate", rate_curves([panel]))
        if any(value > 0 for value in bits.values()):
            card = rate_card(panel, f"{self.encoder}: precision over bits per pixel, n = {self.images:,}")
            write_figure(writer, "answer/rate", card)

    def _panel(self, quantity: str, codec: str, points: list[tuple[float, str]]) -> Panel:
        measured = [(x, self._measured(quantity, view)) for x, view in points]
        return Panel(codec, [Line(self.encoder, measured, self._measured(quantity, ORIGINAL))], _TITLES[quantity])

    def _measured(self, quantity: str, view: str) -> Measured:
        """With its interval: Tango's of a drop, Wilson's of a precision.

        A mean loss has none: where few images are wrong these make it up, and Student's interval and the bootstrap's
        hold the true mean far too rarely.
        """
        from bench.statistics.intervals import wilson  # imports SciPy
        from bench.statistics.paired import drop_interval

        found, images = self.views[view], self.images
        if quantity == "drop":
            if view == ORIGINAL:
                return Measured(0.0)
            interval = drop_interval(found.broken, found.repaired, images)
            return Measured(100 * (found.broken - found.repaired) / images, 100 * interval.low, 100 * interval.high)
        if quantity == "precision":
            interval = wilson(found.correct or 0, images)
            return Measured(found.metrics[quantity], interval.low, interval.high)
        return Measured(found.metrics[quantity])

    def _statement(self, quantity: str, worst: str) -> str:
        if quantity == "drop":
            return f"{cost(worst, self.views[worst], self.images)}\n(95% interval; {self.encoder}, n = {self.images:,})"
        first, last = (self._metrics[view][quantity] for view in (ORIGINAL, worst))
        changed = f"{first:.3f} in the original, {last:.3f} at {worst}"
        return f"loss in nats: {changed} (no interval)" if quantity == "loss" else f"{quantity}: {changed}"
