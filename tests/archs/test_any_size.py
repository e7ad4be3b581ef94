from __future__ import annotations

import torch

from mprnet_plugin.archs.any_size import VIEWS, self_ensemble, undo_view, view


def test_views_are_all_eight_and_are_undone() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert len({view(x, n).numpy().tobytes() + bytes(view(x, n).shape) for n in range(VIEWS)}) == VIEWS
    for number in range(VIEWS):
        assert torch.equal(undo_view(view(x, number), number), x)


def test_a_filter_without_direction_is_unchanged_and_others_become_so() -> None:
    x = torch.rand(1, 1, 6, 9, dtype=torch.float64)
    assert torch.allclose(self_ensemble(lambda y: 2 * y, x), 2 * x)
    ensemble = self_ensemble(lambda y: y.roll(1, -1), x)
    flipped = self_ensemble(lambda y: y.roll(1, -1), x.flip(-1)).flip(-1)
    assert torch.allclose(ensemble, flipped)
    assert not torch.allclose(x.roll(1, -1), x.flip(-1).roll(1, -1).flip(-1))
