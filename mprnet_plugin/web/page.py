"""The page: what happens when somebody uses its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from mprnet_plugin.errors import InputError
from mprnet_plugin.tasks import TASKS, find_task
from mprnet_plugin.web import looks
from mprnet_plugin.web.parts import EXAMPLES, PART, TITLE, WHOLE, Parts
from mprnet_plugin.web.sessions import Session, Sessions
from mprnet_plugin.web.work import OWN, Asked, Result, Work, Workshop, restore_all, show_all

__all__ = ["LAUNCH", "Page"]

LOOK_EVERY = 0.3
"""Seconds after which the page looks at its work again."""
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
LAUNCH: dict[str, Any] = {
    "share": False,
    "inbrowser": False,
    "quiet": True,
    "prevent_thread_lock": True,
    "show_error": True,
    "footer_links": [],
    "run_history": False,
    "enable_monitoring": False,
    "allowed_paths": [],
    "ssr_mode": False,
    "pwa": False,
    "mcp_server": False,
    "theme": gr.themes.Base(primary_hue="teal", neutral_hue="slate", font=FONTS, font_mono=["ui-monospace"]),
    "css": looks.CSS,
    "favicon_path": Path(__file__).parent / "favicon.png",
    "i18n": gr.I18n(
        en={"upload_text.drop_file": "Drop photographs here", "upload_text.click_to_upload": "Choose photographs"}
    ),
}
"""How it is served: to nobody else, with nothing of gradio's own beside it."""

Updates = dict[Any, Any]


class Page(Parts):
    """What happens on the page; ``blocks`` is what gradio serves.

    Args:
        sessions: Where each open page keeps its pictures.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions, self.workshop = sessions, Workshop()
        self.works: dict[str, Work] = {}
        with gr.Blocks(title=TITLE, analytics_enabled=False) as self.blocks:
            super().__init__(sessions.limits)
            self._connect()

    def end(self) -> None:
        """Stop serving, and whatever is being restored."""
        self.blocks.close(verbose=False)
        self.workshop.close()

    def _connect(self) -> None:
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # By itself gradio drops what is done while it still answers what was done before: each is heard, in order.
        heard: dict[str, Any] = {"trigger_mode": "multiple", "concurrency_limit": 1}
        of_pictures, of_views = ({**quiet, **heard, "concurrency_id": name} for name in ("pictures", "views"))
        shown = [self.files, self.refused, self.examples_box, self.restore, self.show_three, self.task]
        self.files.upload(self._pictures_added, [self.files], shown, **of_pictures)
        for event in (self.files.delete, self.files.clear):
            event(self._pictures_changed, [self.files], shown, **of_pictures)
        self.examples.select(self._example_chosen, [self.files], shown, **of_pictures)
        self.weights.change(self._weights_chosen, [self.weights], [self.own_weights], **quiet)
        self.own_weights.upload(self._weights_dropped, [self.own_weights], None, **of_pictures)
        asked = [
            *(self.files, self.task, self.strength, self.weights, self.own_weights),
            *(self.precision, self.engine, self.tile, self.local_pooling),
        ]
        running = [
            *(self.restore, self.show_three, self.cancel, self.status, self.trial_hint, self.trial, self.results),
            *(self.picked, self.view, self.slider, self.download, self.download_all),
        ]
        for button, clicked in ((self.restore, self._restore_clicked), (self.show_three, self._show_three_clicked)):
            button.click(None, js=looks.SHOW_STATUS, **quiet)
            button.click(clicked, asked, running, **quiet)
        self.cancel.click(self._cancel_clicked, None, [self.cancel], **quiet)
        self.trial.select(self._panel_chosen, None, [self.task], **of_views)
        result = [self.view, self.slider, self.download]
        for component in (self.picked, self.view):
            component.input(self._looked_at, [self.picked, self.view], result, **of_views)
        self.blocks.unload(self._left)
        self.blocks.queue(default_concurrency_limit=None, api_open=False)

    def _pictures_added(self, request: gr.Request, files: list[str] | None) -> Updates:
        return self._pictures_changed(request, files, keep=True)

    def _pictures_changed(
        self, request: gr.Request, files: list[str] | None, keep: bool = False, show: bool = False
    ) -> Updates:
        try:
            adopted = self.sessions.of(_key(request)).adopt(files or [], self.sessions.room(), keep)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error
        there = bool(adopted.pictures)
        # What the page shows is set only where it must be: the answer could undo what has been dropped meanwhile.
        shows = gr.update(value=list(map(str, adopted.pictures)) or None) if adopted.refused or show else gr.skip()
        return {
            self.files: shows,
            self.refused: gr.update(value=looks.lines(adopted.refused), visible=bool(adopted.refused)),
            self.restore: gr.update(interactive=there),
            self.show_three: gr.update(interactive=there),
            self.examples_box: gr.update(visible=not there),
        }

    def _example_chosen(self, request: gr.Request, chosen: gr.SelectData, files: list[str] | None) -> Updates:
        path, task = list(EXAMPLES.items())[int(chosen.index)]
        updates = self._pictures_changed(request, [*(files or []), str(path)], keep=True, show=True)
        return updates | {self.task: task}

    def _weights_dropped(self, request: gr.Request, file: str) -> None:
        self.sessions.of(_key(request)).keep_weights(file)

    def _weights_chosen(self, source: str) -> Updates:
        return {self.own_weights: gr.update(visible=source == OWN)}

    async def _restore_clicked(
        self,
        request: gr.Request,
        files: list[str] | None,
        task: str | None,
        strength: float,
        weights: str,
        own_weights: str | None,
        *engine: Any,  # noqa: ANN401 - precision, engine, windows, local pooling
    ) -> AsyncIterator[Updates]:
        session = self.sessions.of(_key(request))
        try:
            pictures = await self._there(session, files)
            if task is None:
                raise InputError("choose what should go, or let it show you all three")
            own = session.keep_weights(own_weights) if weights == OWN and own_weights else None
            asked = Asked(find_task(task).name, strength / 100, weights, own, *engine)
        except InputError as error:
            yield self._problem(str(error))
            return
        work = self._start(request, partial(restore_all, session, pictures, asked))
        yield self._began() | dict.fromkeys((self.results, self.trial, self.trial_hint), gr.update(visible=False))
        shown = 0
        while not work.done:
            await asyncio.sleep(LOOK_EVERY)
            updates: Updates = {self.status: looks.progress(work)}
            if len(work.results) > shown:
                updates |= self._results(work, first=not any(result.whole for result in work.results[:shown]))
                shown = len(work.results)
            yield updates
        text = looks.outcome(work, len(pictures))
        yield self._ended(text) | self._results(work, first=not any(one.whole for one in work.results[:shown]))

    async def _show_three_clicked(
        self,
        request: gr.Request,
        files: list[str] | None,
        *asked: Any,  # noqa: ANN401 - the rest of the page
    ) -> AsyncIterator[Updates]:
        session = self.sessions.of(_key(request))
        try:
            pictures = await self._there(session, files)
        except InputError as error:
            yield self._problem(str(error))
            return
        options = Asked(next(iter(TASKS)), 1.0, asked[2], None, *asked[4:])
        work = self._start(request, partial(show_all, session, pictures[0], options))
        yield self._began() | {
            self.trial: gr.update(visible=False),
            self.trial_hint: gr.update(visible=False),
        }
        while not work.done:
            await asyncio.sleep(LOOK_EVERY)
            yield {self.status: looks.progress(work)}
        panels = [(str(path), _panel_label(label)) for label, path in work.panels.items()]
        there = bool(panels)
        text = "" if there else looks.lines([work.problem] if work.problem else ["stopped"], "note")
        yield self._ended(text) | {
            self.trial: gr.update(value=panels, visible=there, selected_index=None),
            self.trial_hint: gr.update(visible=there),
        }

    async def _there(self, session: Session, files: list[str] | None) -> list[Path]:
        """Return the page's pictures, also those that have only just been dropped.

        Raises:
            InputError: There is none, or the page is closed.
        """
        await asyncio.to_thread(session.adopt, files or [], self.sessions.room(), keep=True)
        pictures = session.own(files or [])
        if not pictures:
            raise InputError("there is no picture: choose or drop one first")
        return pictures

    def _start(self, request: gr.Request, function: Callable[[Work], None]) -> Work:
        key = _key(request)
        work = self.workshop.submit(self.sessions.of(key), function)
        self.works[key] = work
        return work

    def _began(self) -> Updates:
        return {
            self.restore: gr.update(visible=False),
            self.show_three: gr.update(visible=False),
            self.cancel: gr.update(visible=True, interactive=True),
            self.status: gr.update(value=looks.progress(Work()), visible=True),
        }

    def _ended(self, status: str) -> Updates:
        return {
            self.restore: gr.update(visible=True),
            self.show_three: gr.update(visible=True),
            self.cancel: gr.update(visible=False),
            self.status: gr.update(value=status, visible=bool(status)),
        }

    def _problem(self, text: str) -> Updates:
        return {self.status: gr.update(value=looks.lines([text]), visible=True)}

    def _results(self, work: Work, first: bool) -> Updates:
        """Show what there is; the slider only where it shows none yet, as somebody may look at another one."""
        there = [result for result in work.results if result.output is not None]
        if not there:
            return {}
        updates: Updates = {
            self.results: gr.update(visible=True),
            self.picked: gr.update(
                choices=[result.output.name for result in there if result.output], visible=len(there) > 1
            ),
            self.download_all: gr.update(
                value=str(work.archive) if work.archive else None,
                label=f"Download all {len(there)} (zip)",
                visible=work.archive is not None,
            ),
        }
        if first:
            updates[self.picked]["value"] = there[0].output.name if there[0].output else None
            updates |= self._result(there[0], WHOLE)
        return updates

    def _result(self, result: Result, view: str) -> Updates:
        pair = result.part if view == PART and result.part is not None else result.whole
        name = result.output.name if result.output is not None else ""
        return {
            self.view: gr.update(visible=result.part is not None, value=view if result.part else WHOLE),
            self.slider: gr.update(value=None if pair is None else tuple(map(str, pair)), visible=pair is not None),
            self.download: gr.update(value=str(result.output), label=f"Download {name}"),
        }

    def _looked_at(self, request: gr.Request, name: str | None, view: str) -> Updates:
        work = self.works.get(_key(request))
        for result in work.results if work is not None else ():
            if result.output is not None and result.output.name == name:
                return self._result(result, view)
        return {self.view: gr.skip()}

    def _panel_chosen(self, chosen: gr.SelectData) -> Updates:
        number = int(chosen.index)
        return {self.task: list(TASKS)[number - 1] if number else gr.skip()}

    def _cancel_clicked(self, request: gr.Request) -> Updates:
        work = self.works.get(_key(request))
        if work is not None:
            work.cancel()
        return {self.cancel: gr.update(interactive=False)}

    def _left(self, request: gr.Request) -> None:
        """End what a page that was closed or lost has asked for, and remove what was its."""
        key = _key(request)
        work = self.works.pop(key, None)
        if work is not None:
            work.cancel()
        self.sessions.close(key)


def _key(request: gr.Request) -> str:
    return str(request.session_hash)


def _panel_label(label: str) -> str:
    return label.capitalize()
