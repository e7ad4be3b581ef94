"""What validation and testing leave behind: lines of the log, records, tables, pictures, files to submit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from basicsr.utils import get_root_logger

from mprnet_plugin.errors import InputError
from mprnet_plugin.files import whole_file
from mprnet_plugin.training import grids, tables
from mprnet_plugin.training import validation as val

__all__ = ["Past", "Reports"]

RECORDS = "validations.jsonl"


class Past(NamedTuple):
    """The best validation so far: how many have come since, its value, its iteration."""

    since: int
    best: float
    iter: int


class Reports:
    """The reports of one run.

    ``validations.jsonl`` in the experiment's folder has a line for each validation that is complete. It decides, after
    a run was interrupted, which are best so far and which was lost.

    Args:
        opt: The run's options.
        is_train: Whether it is a training.
    """

    def __init__(self, opt: Mapping[str, Any], is_train: bool) -> None:
        self.opt = opt
        self.is_train = is_train
        self.best: dict[str, val.Best] = {}
        self._rows: list[tables.Row] = []
        self._lower: set[str] = set()
        self._said: set[str] = set()
        self._records: list[dict[str, Any]] = []

    def picture_path(self, dataset: str, image: str, step: int | str, suffix: str | None) -> Path:
        """Return where a restored picture goes."""
        folder = Path(self.opt["path"]["visualization"]) / dataset
        if self.is_train:
            return folder / image / f"{Path(image).name}_{step}.png"
        return folder / f"{image}_{suffix or self.opt['name']}.png"

    def submission_folder(self, dataset: str) -> Path:
        """Return where the files go that a benchmark scores itself."""
        return Path(self.opt["path"]["results_root"]) / f"{dataset}_submission"

    def validated(
        self, dataset: str, scored: Mapping[int, val.Scored], scoring: val.Scoring, step: int, tb_logger: Any
    ) -> None:
        """Log a validation of a training, and record that it is complete."""
        means, before = val.means(scored), val.input_means(scored)
        best = val.update_best(self.best.setdefault(dataset, {}), means, scoring, step)
        lines = [f"Validation {dataset}"]
        for metric, value in means.items():
            so_far = f" (best {best[metric][0]:.4f} @ {best[metric][1]})" if metric in best else ""
            gained = val.gain(value, before.get(metric), metric in scoring.lower_is_better)
            lines.append(f"\t # {metric}: {value:.4f}{so_far}{gained}")
            if tb_logger:
                tb_logger.add_scalar(f"metrics/{dataset}/{metric}", value, step)
                if metric in before:
                    tb_logger.add_scalar(f"metrics/{dataset}/{metric}_gain", value - before[metric], step)
        get_root_logger().info("\n".join(lines))
        lower = sorted(scoring.lower_is_better)
        # A run that is resumed at its last iteration validates that once more.
        self._records = [one for one in self._records if (one["iter"], one["dataset"]) != (step, dataset)]
        record = {"iter": step, "dataset": dataset, "scores": means, "input": before, "lower_is_better": lower}
        self._records.append(record)
        self._write_records()

    def tested(self, dataset: Any, scoring: val.Scoring, scored: Mapping[int, val.Scored], local_pooling: bool) -> None:
        """Write and log the tables of all datasets tested so far, or the files to submit."""
        name = dataset.opt["name"]
        if isinstance(dataset, val.SubmissionDataset):
            folder = self.submission_folder(name)
            dataset.write_submission(folder)
            get_root_logger().info(f"The files to submit: {folder}")
            return
        self._rows += [
            tables.Row(name, scoring.protocol, one.name, one.scores, one.before)
            for one in scored.values()
            if one.scores
        ]
        self._lower |= scoring.lower_is_better
        if self._rows:
            folder = Path(self.opt["path"]["results_root"])
            table = tables.write_tables(self._rows, folder, local_pooling, self._lower)
            get_root_logger().info(f"{folder / 'table.md'}, table.csv and images.csv:\n{table}")

    def show(
        self, dataset: str, images: list[val.Restored], step: int | str, tb_logger: Any, missing: Sequence[str] = ()
    ) -> None:
        """Write a before/after picture, and put it into TensorBoard in training.

        Args:
            dataset: The set's name.
            images: Its rows.
            step: Iteration in training, the run's name in testing.
            tb_logger: TensorBoard writer, or None.
            missing: Names of ``val: grid_names`` that the set does not have; said once.
        """
        if missing and dataset not in self._said:
            self._said.add(dataset)
            get_root_logger().warning(f"val:grid_names: {dataset} has no {', '.join(missing)}")
        if not images:
            return
        picture = grids.draw_grid(images)
        path = Path(self.opt["path"]["visualization"]) / f"{dataset}_{step}.png"
        grids.write_png(picture, path)
        if tb_logger is not None and self.is_train:
            tb_logger.add_image(f"val/{dataset}", picture[..., ::-1].copy(), step, dataformats="HWC")
        get_root_logger().info(f"Degraded, restored and sharp, side by side: {path}")

    def resume(self, iteration: int, best: dict[str, val.Best]) -> set[str]:
        """Take up the records up to an iteration; later ones are of a future that will be trained anew.

        Args:
            iteration: That of the checkpoint.
            best: What the checkpoint knows, for runs that have no records.

        Returns:
            The datasets that were validated at this very iteration.
        """
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
            self._records = [record for line in lines if (record := json.loads(line))["iter"] <= iteration]
        except FileNotFoundError:
            self.best = best
            return set()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self._path} is damaged ({error}): remove it; the best results are lost") from error
        self._write_records()
        for record in self._records:
            scoring = val.Scoring({}, lower_is_better=frozenset(record["lower_is_better"]))
            val.update_best(self.best.setdefault(record["dataset"], {}), record["scores"], scoring, record["iter"])
        return {record["dataset"] for record in self._records if record["iter"] == iteration}

    def past(self, dataset: str, metric: str, min_delta: float = 0.0) -> Past:
        """Return the best validation so far by a metric, and how many have come since."""
        best, since = Past(0, math.nan, 0), 0
        for record in self._records:
            if record["dataset"] != dataset or metric not in record["scores"]:
                continue
            value, sign = record["scores"][metric], -1 if metric in record["lower_is_better"] else 1
            if math.isnan(best.best) or sign * (value - best.best) > min_delta:
                best, since = Past(0, value, record["iter"]), 0
            else:
                since += 1
        return best._replace(since=since)

    @property
    def _path(self) -> Path:
        return Path(self.opt["path"]["experiments_root"]) / RECORDS

    def _write_records(self) -> None:
        with whole_file(self._path) as part:
            part.write_text("".join(json.dumps(record) + "\n" for record in self._records), encoding="utf-8")
