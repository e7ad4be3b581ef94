"""How the page looks: its colours and spacing, and the parts of it that are plain HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mprnet_plugin.inference.progress import duration
from mprnet_plugin.web.work import Result, Work

__all__ = ["CSS", "SHOW_STATUS", "heading", "lines", "outcome", "progress"]

CSS = """
.gradio-container { max-width: 860px !important; margin: 0 auto !important; padding: 0 16px 48px !important; }
.gradio-container .main, .gradio-container > .main > .wrap { padding: 0 !important; }
.gradio-container .html-container { padding: 0 !important; }
.heading h1 { font-size: 1.9rem; line-height: 1.2; margin: 28px 0 6px; font-weight: 650; letter-spacing: -0.01em; }
.heading p, .quiet { color: var(--body-text-color); opacity: 0.72; margin: 0; font-size: 0.95rem; line-height: 1.5; }
.quiet { font-size: 0.85rem; }
.lines { margin: 0; padding: 0; list-style: none; font-size: 0.9rem; line-height: 1.5; overflow-wrap: anywhere; }
.lines li { padding: 4px 12px; border-left: 3px solid var(--border-color-primary); margin: 4px 0; }
.lines li.wrong { border-color: #c2410c; }
.lines li.note { border-color: #ca8a04; }
.progress { padding: 4px 0; }
.progress .track { height: 8px; border-radius: 4px; background: var(--border-color-primary); overflow: hidden; }
.progress .done { height: 100%; background: var(--color-accent); transition: width 0.3s; }
.progress p { margin: 8px 0 0; font-size: 0.95rem; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.summary { font-size: 1.05rem; font-weight: 600; margin: 0; }
#pictures { border-width: 2px; border-radius: 10px; }
#pictures:not(:has(table)) { border-color: var(--color-accent); }
#examples-box { gap: 6px; }
#examples .grid-wrap, #trial .grid-wrap { padding: 0; min-height: 0; height: auto; max-height: none; }
#examples, #trial { border-width: 0 !important; background: none; overflow: visible; }
#examples .thumbnail-item { aspect-ratio: 16 / 10; }
#task label { flex: 1 1 200px; }
@media (max-width: 640px) {
  .gradio-container { padding: 0 12px 32px !important; }
  .heading h1 { font-size: 1.5rem; margin-top: 16px; }
  #trial .grid-container { grid-template-columns: repeat(2, 1fr) !important; }
  #task label { flex: 1 1 100%; }
}
"""

SHOW_STATUS = """() => setTimeout(() => {
    const status = document.querySelector("#status");
    if (status) status.scrollIntoView({behavior: "smooth", block: "nearest"});
}, 800)"""
"""Scrolls to the progress, which a phone has below its edge."""


def heading(title: str, text: str) -> str:
    """Return the top of the page."""
    return f'<div class="heading"><h1>{escape(title)}</h1><p>{escape(text)}</p></div>'


def lines(texts: Sequence[str], kind: str = "wrong") -> str:
    """Return a line for each text: ``wrong`` or ``note``; nothing for none."""
    if not texts:
        return ""
    items = "".join(f'<li class="{kind}">{escape(text)}</li>' for text in texts)
    return f'<ul class="lines" role="status">{items}</ul>'


def progress(work: Work) -> str:
    """Return how far a piece of work is, and how long it takes."""
    percent = round(100 * work.share)
    left = work.seconds_left()
    words = [work.step, f"{percent} %", f"about {duration(left)} left" if left is not None else ""]
    text = "waiting for the pictures of another page" if work.waits else " · ".join(filter(None, words))
    if work.cancelled:
        text = "stopping"
    bar = f'<div class="track"><div class="done" style="width: {percent}%"></div></div>'
    value = f'role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}"'
    return f'<div class="progress" {value}>{bar}<p>{escape(text)}</p></div>'


def outcome(work: Work, asked_for: int) -> str:
    """Return what became of the pictures, in words: counts, then a line for each that needs one."""
    restored = sum(result.output is not None for result in work.results)
    text = f"{restored} of {asked_for} restored" if asked_for > 1 or not restored else "Restored"
    if work.cancelled and len(work.results) < asked_for:
        text = f"Stopped: {restored} of {asked_for} restored"
    notes = [_line(result) for result in work.results if result.output is not None and result.message]
    wrong = [_line(result) for result in work.results if result.output is None]
    problem = [work.problem] if work.problem else []
    return f'<p class="summary">{escape(text)}</p>{lines([*wrong, *problem])}{lines(notes, "note")}'


def _line(result: Result) -> str:
    return result.message if result.name in result.message else f"{result.name}: {result.message}"
