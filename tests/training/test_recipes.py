from __future__ import annotations

from mprnet_plugin.training.recipes import deviations, flat

SHIPPED = {"a.yml": {"lr": 1e-4, "iter": 5, "name": "a"}, "b.yml": {"lr": 1.0, "iter": 7, "betas": [0.9]}}


def told(name: str) -> bool:
    return name != "name"


def test_a_copy_is_compared_with_its_original_and_others_with_the_nearest() -> None:
    mine = {"lr": 1e-4, "iter": 6, "name": "mine"}
    assert deviations("x.yml", mine, SHIPPED, told) == (
        "1 setting differs from the shipped recipe a.yml:\n    iter: 6 (recipe: 5)"
    )
    text = deviations("b.yml", mine, SHIPPED, told)
    assert text.startswith("3 settings differ from the shipped recipe b.yml:")
    assert "betas: none (recipe: [0.9])" in text
    assert deviations("x", SHIPPED["a.yml"], SHIPPED, told) == "All settings are those of the shipped recipe a.yml"


def test_what_comes_from_no_recipe_is_not_listed() -> None:
    far = {f"option{number}": number for number in range(50)}
    assert "No shipped recipe is near" in deviations("x.yml", far, SHIPPED, told)
    assert deviations("a.yml", far, SHIPPED, told).startswith("52 settings differ")
    assert "No shipped" in deviations("a.yml", far, {}, told)


def test_lists_are_values() -> None:
    assert flat({"a": {"b": [1, 2]}, "c": None}, ".") == {"a.b": [1, 2], "c": None}
