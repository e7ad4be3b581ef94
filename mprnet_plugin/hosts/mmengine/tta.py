"""Self-ensemble as the host's test-time augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseTTAModel

from mprnet_plugin.archs.any_size import VIEWS, undo_view, view

__all__ = ["SelfEnsemble"]


class SelfEnsemble(BaseTTAModel):  # type: ignore[misc]
    """Average the results of each picture's eight flips and rotations: eight times the work."""

    def test_step(self, data: Mapping[str, Any]) -> list[Any]:
        """Restore a batch's eight views.

        Args:
            data: As the dataset gives it, collated or not.
        """
        batches = [{**data, "lq": [view(one, number).contiguous() for one in data["lq"]]} for number in range(VIEWS)]
        predictions = [self.module.test_step(batch) for batch in batches]
        return self.merge_preds(list(zip(*predictions, strict=True)))

    def merge_preds(self, data_samples_list: list[Any]) -> list[Any]:
        """Turn each picture's views back, and average them.

        Args:
            data_samples_list: For each picture its views' samples, in order.
        """
        merged = []
        for views in data_samples_list:
            total = sum(undo_view(sample.pred, number) for number, sample in enumerate(views))
            views[0].pred = total / VIEWS
            merged.append(views[0])
        return merged
