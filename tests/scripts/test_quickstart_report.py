from __future__ import annotations

from quickstart_report import ScoreChange, worse


def change(name: str, before: float, after: float) -> ScoreChange:
    return ScoreChange(name, {"psnr": before, "ssim": 0.5}, {"psnr": after, "ssim": 0.5})


def test_pictures_that_became_worse_are_named() -> None:
    assert worse([change("a", 20.0, 25.0), change("b", 20.0, 20.0)]) == ""
    text = worse([change("a", 20.0, 25.0), change("b", 20.0, 19.9), change("c", 30.0, 20.0)])
    assert text == "WORSE than the input: 2 of 3 pictures lost PSNR: b, c\n"
