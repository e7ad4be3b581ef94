"""What is on the page, from top to bottom."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import gradio as gr

from mprnet_plugin.inference.engines import Engine, Precision
from mprnet_plugin.tasks import TASKS
from mprnet_plugin.web import looks
from mprnet_plugin.web.limits import Limits
from mprnet_plugin.web.work import DEMO, OWN, PUBLISHED
from mprnet_plugin.weights.download import cached

__all__ = ["EXAMPLES", "PART", "TITLE", "WHOLE", "Parts"]

TITLE = "Restore photographs"
ABOUT = (
    "Take blur, noise or rain out of your pictures. They stay on this machine, and are removed when you close the page."
)
EXAMPLES = {
    Path(__file__).parent / "examples" / f"{name}.jpg": task
    for name, task in zip(("blurred", "noisy", "rainy"), TASKS, strict=True)
}
"""Example photographs, each with the task that helps it."""
WEIGHTS = (".pth", ".safetensors", ".pdparams")
TILES = (0, 256, 384, 512, 768, 1024)
WHOLE, PART = "Whole picture", "A detail"


class Parts:
    """The page's parts, made inside of a ``gr.Blocks``.

    Args:
        limits: What is taken, to be said on the page.
    """

    def __init__(self, limits: Limits) -> None:
        gr.HTML(looks.heading(TITLE, ABOUT))
        self._add_pictures(limits)
        self._add_choices()
        self._add_buttons()
        self._add_results()

    def _add_pictures(self, limits: Limits) -> None:
        self.files = gr.File(
            label="Photographs",
            file_count="multiple",
            # No file_types: gradio would refuse all where one is of another kind, and we say which one and why.
            height=200,
            elem_id="pictures",
        )
        gr.HTML(f'<p class="quiet" id="limits">{limits.describe()}</p>')
        self.refused = gr.HTML(visible=False, elem_id="refused")
        with gr.Column(elem_id="examples-box") as self.examples_box:
            gr.HTML('<p class="quiet">No photograph at hand? Try one of these:</p>')
            self.examples = gr.Gallery(
                value=[(str(path), path.stem.capitalize()) for path in EXAMPLES],
                columns=3,
                height="auto",
                object_fit="cover",
                allow_preview=False,
                show_label=False,
                interactive=False,
                buttons=[],
                elem_id="examples",
            )

    def _add_choices(self) -> None:
        choices = [(task.removes[:1].upper() + task.removes[1:], name) for name, task in TASKS.items()]
        self.task = gr.Radio(choices, label="What should go?", elem_id="task")
        self.strength = gr.Slider(
            5, 100, 100, step=5, label="Strength in percent", info="Less mixes it with your picture", elem_id="strength"
        )
        published = [task for task in TASKS if cached(task) is not None]
        sources = [("Small ones that come with this program", DEMO), ("A file of your own", OWN)]
        licences = ""
        if published:
            licences = f"Licence of the published ones: {TASKS[published[0]].weights[0].licence}"
            names = ", ".join(TASKS[task].short for task in published)
            rest = "; small ones for the rest" if len(published) < len(TASKS) else ""
            sources.insert(0, (f"The published ones, which you have downloaded ({names}{rest})", PUBLISHED))
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            self.weights = gr.Radio(sources, value=sources[0][1], label="Weights of the network", info=licences or None)
            self.own_weights = gr.File(
                label=f"Your file of weights ({', '.join(WEIGHTS)})",
                file_types=list(WEIGHTS),
                height=120,
                visible=False,
                elem_id="own-weights",
            )
            with gr.Row():
                self.precision = gr.Dropdown(
                    list(get_args(Precision)), value="auto", label="Precision", info="fp32 is exact, auto the fastest"
                )
                self.engine = gr.Dropdown(
                    list(get_args(Engine)), value="auto", label="Engine", info="What computes, on a processor"
                )
            with gr.Row():
                tiles = [("as memory allows" if tile == 0 else f"{tile} pixels", tile) for tile in TILES]
                self.tile = gr.Dropdown(tiles, value=0, label="Windows", info="Into which large pictures are cut")
                self.local_pooling = gr.Checkbox(
                    label="Local pooling (TLC)", info="Better on pictures much larger than 256 pixels"
                )

    def _add_buttons(self) -> None:
        with gr.Row():
            self.restore = gr.Button(
                "Restore", variant="primary", size="lg", interactive=False, min_width=280, elem_id="restore"
            )
            self.show_three = gr.Button(
                "Not sure? Show me all three", size="lg", interactive=False, min_width=280, elem_id="show-three"
            )
            self.cancel = gr.Button("Cancel", variant="stop", size="lg", visible=False, elem_id="cancel")
        self.status = gr.HTML(visible=False, elem_id="status")
        self.trial_hint = gr.HTML(
            '<p class="quiet">The most detailed part of your first picture. Choose the best one.</p>', visible=False
        )
        self.trial = gr.Gallery(
            columns=4,
            height="auto",
            allow_preview=False,
            show_label=False,
            interactive=False,
            buttons=[],
            visible=False,
            format="png",
            elem_id="trial",
        )

    def _add_results(self) -> None:
        with gr.Column(visible=False, elem_id="results") as self.results:
            self.picked = gr.Dropdown([], label="Picture", visible=False, elem_id="picked")
            self.view = gr.Radio([WHOLE, PART], value=WHOLE, show_label=False, visible=False, elem_id="view")
            self.slider = gr.ImageSlider(
                label="Before and after", format="png", interactive=False, buttons=["fullscreen"], elem_id="slider"
            )
            with gr.Row():
                self.download = gr.DownloadButton("Download", variant="primary", min_width=280, elem_id="download")
                self.download_all = gr.DownloadButton(
                    "Download all (zip)", visible=False, min_width=280, elem_id="download-all"
                )
