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
from mprnet_plugin.training.validation import NO_SCORES, is_worse, mean_scores

MISSING = "-"
AVERAGE = "average"


class Row(NamedTuple):
    """One image's scores."""

    dataset: str
    protocol: str
    image: str
    scores: Scores
    """Metric's name to its value."""
    before: Scores = NO_SCORES
    """The same of the degraded picture."""


class Line(NamedTuple):
    """One line of the table: a dataset's mean, or the mean of several datasets."""

    dataset: str
    protocol: str
    images: int
    scores: Scores
    published: Figures | None
    before: Scores = NO_SCORES
    """Of the degraded pictures; nothing where one has none."""


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
        Line(
            dataset,
            protocol,
            len(group),
            mean_scores([row.scores for row in group]),
            _figures(protocol, dataset, local),
            mean_scores([row.before for row in group]),
        )
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
        psnr, ssim = (float(np.mean(column)) for column in zip(*(one[:2] for one in known), strict=True))
        counts = [one.images for one in known]
        published = Figures(psnr, ssim, None if None in counts else sum(one or 0 for one in counts))
    images = sum(line.images for line in lines)
    scores, before = ([getattr(line, name) for line in lines] for name in ("scores", "before"))
    return Line(AVERAGE, protocol, images, mean_scores(scores), published, mean_scores(before))


def markdown(lines: Sequence[Line]) -> str:
    """Return the table as Markdown; published figures stand in a column of their own, labelled as such.

    Where fewer images were scored than the published figure is the mean of, both numbers stand there.
    """
    names, before = _columns(lines)
    inputs = [f"{name} of input" for name in before]
    header = ["dataset", "protocol", "images", *names, *inputs, "published (not measured here)"]
    body = [
        [
            line.dataset,
            line.protocol or MISSING,
            _count(line),
            *(_cell(line.scores, n) for n in names),
            *(_cell(line.before, n) for n in before),
            _theirs(line),
        ]
        for line in lines
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *body]) + "\n"


def _columns(lines: Sequence[Line] | Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return the names of the restored pictures' metrics, and of the degraded ones'."""
    restored = dict.fromkeys(name for line in lines for name in line.scores)
    return list(restored), list(dict.fromkeys(name for line in lines for name in line.before))


def _count(line: Line) -> str:
    whole = line.published.images if line.published is not None else None
    return f"{line.images} of {whole:,d}" if whole is not None and line.images < whole else str(line.images)


def worse(lines: Iterable[Line], lower_is_better: Iterable[str] = ()) -> str:
    """Return a line for each dataset whose restored pictures score behind the degraded ones; mostly nothing.

    Args:
        lines: Of the table.
        lower_is_better: Names of metrics such as LPIPS.
    """
    text = ""
    for line in lines:
        behind = [
            f"{name} {value:.4f}, of the input {line.before[name]:.4f}"
            for name, value in line.scores.items()
            if name in line.before and is_worse(value, line.before[name], name in lower_is_better)
        ]
        if behind and line.dataset != AVERAGE:
            text += f"WORSE than the input: {line.dataset} ({'; '.join(behind)})\n"
    return text


def _cell(scores: Scores, name: str) -> str:
    return f"{scores[name]:.4f}" if name in scores else MISSING


def _theirs(line: Line) -> str:
    if line.published is None:
        return MISSING
    psnr, ssim, _ = line.published
    return f"{psnr:.2f}" if ssim is None else f"{psnr:.2f} / {ssim:.3f}"


def as_csv(lines: Sequence[Line]) -> str:
    """Return the table as CSV, published figures in columns of their own."""
    names, before = _columns(lines)
    inputs, theirs_names = [f"input_{name}" for name in before], [f"published_{name}" for name in Figures._fields]
    rows: list[list[object]] = [["dataset", "protocol", "images", *names, *inputs, *theirs_names]]
    for line in lines:
        theirs = line.published or ("",) * len(theirs_names)
        scores = [*(line.scores.get(name, "") for name in names), *(line.before.get(name, "") for name in before)]
        rows.append([line.dataset, line.protocol, line.images, *scores, *("" if v is None else v for v in theirs)])
    return _csv(rows)


def images_as_csv(rows: Sequence[Row]) -> str:
    """Return every image's scores as CSV."""
    names, before = _columns(rows)
    head: list[object] = ["dataset", "protocol", "image", *names, *(f"input_{name}" for name in before)]
    body = [
        [
            row.dataset,
            row.protocol,
            row.image,
            *(row.scores.get(name, "") for name in names),
            *(row.before.get(name, "") for name in before),
        ]
        for row in rows
    ]
    return _csv([head, *body])


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def extremes(scores: Mapping[int, float]) -> list[int]:
    """Return the indices of the worst, the median and the best image by a score where higher is better."""
    order = sorted(scores, key=lambda index: (scores[index], index))
    return list(dict.fromkeys([order[0], order[(len(order) - 1) // 2], order[-1]])) if order else []


def write_tables(rows: Sequence[Row], folder: Path, local: bool = False, lower_is_better: Iterable[str] = ()) -> str:
    """Write ``table.md``, ``table.csv`` and ``images.csv`` into ``folder``; return the Markdown.

    Args:
        rows: Every image's scores.
        folder: Where the files go.
        local: As :func:`table` takes it.
        lower_is_better: Names of metrics such as LPIPS.

    Raises:
        InputError: They cannot be written.
    """
    lines = table(rows, local)
    behind = worse(lines, lower_is_better)
    text = markdown(lines) + (f"\n{behind}" if behind else "")
    contents = {"table.md": text, "table.csv": as_csv(lines), "images.csv": images_as_csv(rows)}
    for name, content in contents.items():
        with whole_file(folder / name) as part:
            part.write_text(content, encoding="utf-8")
    return contents["table.md"]
