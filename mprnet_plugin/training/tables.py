"""Tables of a test run: per dataset beside the published figures, and per image."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mprnet_plugin.files import whole_file
from mprnet_plugin.metrics.protocols import PROTOCOLS, Figures, Scores

MISSING = "-"


class Row(NamedTuple):
    """One image's scores."""

    dataset: str
    protocol: str
    image: str
    scores: Scores
    """Metric's name to its value."""


class Line(NamedTuple):
    """One line of the table: a dataset's mean, or the mean of several datasets."""

    dataset: str
    protocol: str
    images: int
    scores: Scores
    published: Figures | None


def table(rows: Iterable[Row], local: bool = False) -> list[Line]:
    """Return a line for each dataset, in the order they come, and the average of each protocol with several.

    Args:
        rows: Every image's scores.
        local: Whether the figures beside them are those published for local pooling (TLC).
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.protocol, row.dataset), []).append(row)
    lines = [
        Line(dataset, protocol, len(group), _means([row.scores for row in group]), _figures(protocol, dataset, local))
        for (protocol, dataset), group in groups.items()
    ]
    for protocol in dict.fromkeys(line.protocol for line in lines):
        same = [line for line in lines if line.protocol == protocol]
        if len(same) > 1:
            lines.append(_average(protocol, same))
    return lines


def _figures(protocol: str, dataset: str, local: bool) -> Figures | None:
    if protocol not in PROTOCOLS:
        return None
    known = PROTOCOLS[protocol]
    return (known.published_local if local else known.published).get(dataset)


def _average(protocol: str, lines: Sequence[Line]) -> Line:
    known = [line.published for line in lines if line.published is not None]
    complete = len(known) == len(lines) and all(figures.ssim is not None for figures in known)
    published = None
    if complete:
        psnr, ssim = (float(np.mean(column)) for column in zip(*known, strict=True))
        published = Figures(psnr, ssim)
    images = sum(line.images for line in lines)
    return Line("average", protocol, images, _means([line.scores for line in lines]), published)


def _means(scores: Sequence[Scores]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}


def markdown(lines: Sequence[Line]) -> str:
    """Return the table as Markdown; published figures stand in a column of their own, labelled as such."""
    names = list(dict.fromkeys(name for line in lines for name in line.scores))
    header = ["dataset", "protocol", "images", *names, "published (not measured here)"]
    body = [
        [
            line.dataset,
            line.protocol or MISSING,
            str(line.images),
            *(_cell(line.scores, n) for n in names),
            _theirs(line),
        ]
        for line in lines
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *body]) + "\n"


def _cell(scores: Scores, name: str) -> str:
    return f"{scores[name]:.4f}" if name in scores else MISSING


def _theirs(line: Line) -> str:
    if line.published is None:
        return MISSING
    psnr, ssim = line.published
    return f"{psnr:.2f}" if ssim is None else f"{psnr:.2f} / {ssim:.3f}"


def as_csv(lines: Sequence[Line]) -> str:
    """Return the table as CSV, published figures in two columns."""
    names = list(dict.fromkeys(name for line in lines for name in line.scores))
    rows: list[list[object]] = [["dataset", "protocol", "images", *names, "published_psnr", "published_ssim"]]
    for line in lines:
        theirs = line.published or ("", "")
        scores = [line.scores.get(name, "") for name in names]
        rows.append([line.dataset, line.protocol, line.images, *scores, *("" if v is None else v for v in theirs)])
    return _csv(rows)


def images_as_csv(rows: Sequence[Row]) -> str:
    """Return every image's scores as CSV."""
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    head: list[object] = ["dataset", "protocol", "image", *names]
    body = [[r.dataset, r.protocol, r.image, *(r.scores.get(name, "") for name in names)] for r in rows]
    return _csv([head, *body])


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def extremes(scores: Mapping[int, float]) -> list[int]:
    """Return the indices of the worst, the median and the best image by a score where higher is better."""
    order = sorted(scores, key=lambda index: (scores[index], index))
    return list(dict.fromkeys([order[0], order[(len(order) - 1) // 2], order[-1]])) if order else []


def write_tables(rows: Sequence[Row], folder: Path, local: bool = False) -> str:
    """Write ``table.md``, ``table.csv`` and ``images.csv`` into ``folder``; return the Markdown.

    Raises:
        InputError: They cannot be written.
    """
    lines = table(rows, local)
    contents = {"table.md": markdown(lines), "table.csv": as_csv(lines), "images.csv": images_as_csv(rows)}
    for name, content in contents.items():
        with whole_file(folder / name) as part:
            part.write_text(content, encoding="utf-8")
    return contents["table.md"]
