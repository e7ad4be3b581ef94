"""Loops of the runner: training that resumes at its place in the data, testing of several sets with their tables."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.runner import BaseLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader

from mprnet_plugin.errors import InputError
from mprnet_plugin.hosts.mmengine.metric import RestorationMetric
from mprnet_plugin.hosts.mmengine.sampler import EndlessSampler
from mprnet_plugin.hosts.mmengine.schedule import tell_length
from mprnet_plugin.training import tables

__all__ = ["MultiTestLoop", "ResumableTrainLoop"]


class ResumableTrainLoop(IterBasedTrainLoop):  # type: ignore[misc]
    """The host's loop by iterations, which tells our sampler where to begin instead of loading what was trained on.

    Args:
        runner: The runner.
        dataloader: As the host's loops take it.
        schedule: Further arguments are those of the host's loop: ``max_iters``, ``val_begin``, ``val_interval``.
    """

    def __init__(self, runner: Any, dataloader: Any, **schedule: Any) -> None:
        # What the datasets say of themselves goes where the run's lines go.
        logging.getLogger("mprnet_plugin").parent = runner.logger
        if not isinstance(dataloader, DataLoader):
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed)
        # Before loading processes start, which copy the dataset.
        self._tell(dataloader, 0)
        super().__init__(runner, dataloader, **schedule)
        tell_length(runner.message_hub, _iterations_per_epoch(dataloader), self._max_iters)

    def _tell(self, dataloader: DataLoader[Any], iteration: int) -> bool:
        dataset: Any = dataloader.dataset
        if not hasattr(dataset, "schedule"):
            return False
        dataset.schedule = dataset.schedule._replace(batch_size=dataloader.batch_size, start_iter=iteration)
        return True

    def run(self) -> Any:
        """Train from the iteration that the run has come to."""
        start: int = self._iter
        if start and self._tell(self.dataloader, start):
            self.dataloader_iterator = _LaterBatches(self.dataloader, start)
        return super().run()


def _iterations_per_epoch(dataloader: DataLoader[Any]) -> int:
    """Return in how many iterations all processes together go through the training set."""
    sampler: Any = dataloader.sampler
    if isinstance(sampler, EndlessSampler):  # of one process, filled up to whole batches
        return len(sampler) // (dataloader.batch_size or 1)
    dataset: Any = dataloader.dataset
    return math.ceil(len(dataset) / ((dataloader.batch_size or 1) * int(get_dist_info()[1])))


class _LaterBatches(Iterator[Any]):
    """The batches of a run that resumes; the host throws as many away as were trained on, and these cost nothing.

    Args:
        dataloader: Begins where the run does; its processes start when the first batch is asked for.
        skipped: How many the host asks for in vain.
    """

    def __init__(self, dataloader: DataLoader[Any], skipped: int) -> None:
        self._dataloader = dataloader
        self._skipped = skipped
        self._batches: Iterator[Any] | None = None

    def __next__(self) -> Any:
        if self._skipped:
            self._skipped -= 1
            return None
        if self._batches is None:
            self._batches = iter(self._dataloader)
        return next(self._batches)

    def skip_iter(self, number: int) -> None:
        """Skip batches, as onedl-mmengine asks for it."""
        self._skipped -= number


class MultiTestLoop(BaseLoop):  # type: ignore[misc]
    """Test several sets one after another, and write their tables beside the published figures.

    ``test_dataloader`` and ``test_evaluator`` are lists of one length. A dataset with ``optional=True`` is left out,
    with a line, where its files are not there. Tables go to the ``results`` folder of the run's log.

    Args:
        runner: The runner.
        dataloader: A dataloader's config, or a list of them.
        evaluator: An evaluator's config, or a list of them.

    Raises:
        InputError: Lists of different lengths, or nothing to test.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any) -> None:
        dataloaders = list(dataloader) if isinstance(dataloader, Sequence) else [dataloader]
        evaluators = list(evaluator) if isinstance(evaluator, Sequence) else [evaluator]
        if len(dataloaders) != len(evaluators):
            raise InputError(
                f"test_dataloader has {len(dataloaders)} sets, test_evaluator {len(evaluators)}: give one for each"
            )
        there = [pair for pair in zip(dataloaders, evaluators, strict=True) if _is_there(runner, pair[0])]
        if not there:
            raise InputError("none of the test sets is on the disk: get one, or set another dataroot_lq")
        super().__init__(runner, there[0][0])
        others = [runner.build_dataloader(one, seed=runner.seed) for one, _ in there[1:]]
        first: Any = self.dataloader  # type: ignore[has-type]
        self.dataloaders = [first, *others]
        self.evaluators = [runner.build_evaluator(one) for _, one in there]

    def run(self) -> dict[str, float]:
        """Test every set; return all metrics."""
        self.runner.call_hook("before_test")
        self.runner.call_hook("before_test_epoch")
        self.runner.model.eval()
        metrics: dict[str, float] = {}
        rows: list[tables.Row] = []
        lower: set[str] = set()
        for dataloader, evaluator in zip(self.dataloaders, self.evaluators, strict=True):
            self.dataloader = dataloader  # hooks look at it
            evaluator.dataset_meta = self.dataloader.dataset.metainfo
            for index, batch in enumerate(self.dataloader):
                self.run_iter(index, batch, evaluator)
            metrics.update(evaluator.evaluate(len(self.dataloader.dataset)))
            ours = [one for one in evaluator.metrics if isinstance(one, RestorationMetric)]
            rows += [row for one in ours for row in one.rows]
            lower.update(*(one.lower_is_better for one in ours))
        if rows and self.runner.rank == 0:
            folder = Path(self.runner.log_dir) / "results"
            table = tables.write_tables(rows, folder, lower_is_better=lower)
            self.runner.logger.info(f"{folder / 'table.md'}, table.csv and images.csv:\n{table}")
        self.runner.call_hook("after_test_epoch", metrics=metrics)
        self.runner.call_hook("after_test")
        return metrics

    @torch.no_grad()
    def run_iter(self, index: int, batch: Any, evaluator: Any) -> None:
        """Test one batch."""
        self.runner.call_hook("before_test_iter", batch_idx=index, data_batch=batch)
        outputs = self.runner.model.test_step(batch)
        evaluator.process(data_samples=outputs, data_batch=batch)
        self.runner.call_hook("after_test_iter", batch_idx=index, data_batch=batch, outputs=outputs)


def _is_there(runner: Any, dataloader: Any) -> bool:
    """Tell whether a set shall be tested; takes the mark off those that are optional."""
    if not isinstance(dataloader, dict) or not dataloader["dataset"].pop("optional", False):
        return True
    roots = [dataloader["dataset"][name] for name in ("dataroot_lq", "dataroot_gt")]
    absent = [root for root in roots if not Path(root).expanduser().exists()]
    if absent:
        runner.logger.warning(f"a test set is left out: {absent[0]} is not there")
    return not absent
