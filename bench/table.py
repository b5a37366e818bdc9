"""One table for all benchmarks: ours, the rival's, the ratio, and what it has to be."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def median(figures: Sequence[float]) -> float:
    """The middle of several runs."""
    return statistics.median(figures)


@dataclass(frozen=True)
class Row:
    """One comparison. `target` is a ratio ours / rival: at least that where `higher` is better, at most otherwise."""

    name: str
    unit: str
    ours: float
    rival: float
    higher: bool
    target: float | None = None

    @property
    def ratio(self) -> float:
        """Ours over the rival's."""
        return self.ours / self.rival

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.target is None or (self.ratio >= self.target if self.higher else self.ratio <= self.target)

    def cells(self) -> list[str]:
        """As the table prints it."""
        sign = ">=" if self.higher else "<="
        target = "" if self.target is None else f"{sign} {self.target:g}"
        verdict = "" if self.target is None else ("ok" if self.holds else "MISSED")
        return [self.name, _figure(self.ours), _figure(self.rival), self.unit, f"{self.ratio:.2f}", target, verdict]


def printed(rows: Iterable[Row]) -> str:
    """The table in plain text."""
    head = ["benchmark", "textkeep", "rival", "unit", "ratio", "target", ""]
    cells = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
