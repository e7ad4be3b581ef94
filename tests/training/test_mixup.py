from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from mprnet_plugin.errors import InputError
from mprnet_plugin.training.mixup import draw_lambda, mixup


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 6, seed: int = 1) -> tuple[Tensor, Tensor]:
    images = torch.rand(2, count, 3, 4, 5, generator=generator(seed), dtype=torch.float64)
    return images[0], images[1]


@pytest.mark.parametrize("alpha", [0.6, 0.2, 2.0])
def test_lambda_is_beta(alpha: float) -> None:
    draws = draw_lambda(20_000, generator(5), alpha).numpy()
    assert stats.kstest(draws, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_lambda_of_the_recipe_is_the_default() -> None:
    """Inside a batch, where it counts: from blends of black with white."""
    draws = []
    for seed in range(400):
        ramp = torch.arange(16.0, dtype=torch.float64).reshape(16, 1, 1, 1)
        flag = torch.zeros(16, 1, 1, 1, dtype=torch.float64)
        flag[seed % 16] = 1
        mixed, mixed_ramp = mixup(flag, ramp, generator(seed))
        value = mixed[seed % 16].item()
        if mixed_ramp[seed % 16].item() != seed % 16:  # not its own partner
            draws.append(value)
    assert len(draws) > 300
    assert stats.kstest(draws, stats.beta(0.6, 0.6).cdf).pvalue > 0.01


def test_each_sample_has_its_own_lambda_and_one_partner() -> None:
    count = 6
    one_hot = torch.eye(count, dtype=torch.float64).reshape(count, count, 1, 1)
    mixed, _ = mixup(one_hot, one_hot, generator(3))
    rows = mixed.reshape(count, count)
    torch.testing.assert_close(rows.sum(1), torch.ones(count, dtype=torch.float64))
    assert ((rows > 0).sum(1) <= 2).all()
    diagonal = rows.diagonal()
    assert len(set(diagonal.tolist())) > count // 2
    # Partners are a permutation: every sample is used once as one.
    partners = (rows - torch.diag(diagonal)) > 0
    assert (partners.sum(0) <= 1).all()


def test_pairs_stay_pairs() -> None:
    lq, _ = batch()
    mixed_lq, mixed_gt = mixup(lq, 2 * lq, generator())
    torch.testing.assert_close(mixed_gt, 2 * mixed_lq)


def test_generator_decides() -> None:
    first, again, other = (mixup(*batch(), generator(seed))[0] for seed in (7, 7, 8))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)


def test_input_is_left_alone_and_dtype_kept() -> None:
    lq, gt = (image.float() for image in batch())
    copy = lq.clone()
    mixed, _ = mixup(lq, gt, generator())
    assert torch.equal(lq, copy)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, mixup(lq.double(), gt.double(), generator())[0].float())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_mixes_as_the_cpu_does_without_waiting() -> None:
    lq, gt = (image.float() for image in batch())
    on_gpu = lq.cuda(), gt.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        mixed = mixup(*on_gpu, generator())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for ours, reference in zip(mixed, mixup(lq, gt, generator()), strict=True):
        torch.testing.assert_close(ours.cpu(), reference)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_alpha_out_of_range(alpha: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        mixup(*batch(), generator(), alpha)


def test_unequal_batches() -> None:
    lq, gt = batch()
    with pytest.raises(InputError, match="lq has 6 samples, gt has 5"):
        mixup(lq, gt[:5], generator())
