"""Recipes: names, files, changes, and one clear line for each mistake."""

from pathlib import Path

import pytest

from segdistill.errors import UserError
from segdistill.recipes import BUILTIN, METHODS, load, to_yaml
from segdistill.recipes.yaml import read


@pytest.mark.parametrize("name", BUILTIN)
def test_every_builtin_recipe_comes_back_from_its_yaml(name: str, tmp_path: Path) -> None:
    recipe = load(name)
    file = tmp_path / f"{name}.yaml"
    file.write_text(to_yaml(recipe))
    assert load(file) == recipe


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fits_the_schema(method: str) -> None:
    recipe = load("quickstart", [f"method={method}"])
    assert set(recipe.terms) == set(METHODS[method])


def test_changes_reach_nested_keys_and_terms() -> None:
    changes = ["train.iterations=7", "data.root=/somewhere", "terms.gskd.weight=5", "terms.gskd.samples=4"]
    recipe = load("quickstart", changes)
    assert recipe.train.iterations == 7
    assert recipe.data.root == "/somewhere"
    assert recipe.terms["gskd"].weight == 5
    assert recipe.terms["gskd"].hyperparameters == {"samples": 4, "stride": 8}


def test_a_null_takes_a_term_out_and_a_new_one_gets_its_cards_defaults() -> None:
    recipe = load("quickstart", ["terms.gskd=null", "terms.i2ckd={}"])
    assert set(recipe.terms) == {"kd", "i2ckd"}
    added = recipe.terms["i2ckd"]
    assert (added.loss, added.on, added.labels, added.weight) == ("i2ckd", "head", "valid", 0.6)


def test_on_is_a_word_in_yaml(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("recipe: quickstart\nterms:\n  gskd:\n    on: stage4\n")
    assert load(file).terms["gskd"].on == "stage4"
    assert read("a: true\nb: off") == {"a": True, "b": "off"}


def test_a_file_may_hold_only_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: quickstart\nmethod: kd\ntrain: {iterations: 9}\n")
    recipe = load(file)
    base = load("quickstart")
    assert recipe.name == "mine"
    assert recipe.train == base.train.model_copy(update={"iterations": 9})
    assert set(recipe.terms) == {"kd"}


def test_the_teachers_training_takes_over_the_students_settings() -> None:
    recipe = load("quickstart", ["train.batch_size=4", "teacher.train.iterations=11"])
    assert recipe.teacher is not None
    assert recipe.teacher.train is not None
    assert (recipe.teacher.train.batch_size, recipe.teacher.train.iterations) == (4, 11)


def test_methods_joined_by_plus_have_the_terms_of_both() -> None:
    assert set(load("quickstart", ["method=kd+dist"]).terms) == {"kd", "dist"}
    plug_in = load("quickstart", ["method=dist+gskd"]).terms["gskd"]
    assert plug_in.hyperparameters == {
        "samples": 8,
        "stride": "classes",
    }  # the paper's plug-in, not its stand-alone form


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["train.iteration=5"], "unknown key 'train.iteration'; did you mean 'train.iterations'"),
        (["tarin.iterations=5"], "unknown key 'tarin'; did you mean 'train'"),
        (["train.iterations=many"], "train.iterations: .*got 'many'"),
        (["train.iterations=0"], "train.iterations: .*greater than 0, got 0"),
        (["train.batch_size=9", "train.accumulate=2"], "9 is not a multiple of accumulate 2"),
        (["method=gksd"], "unknown method 'gksd'; did you mean 'gskd'"),
        (["method=cwd+i2ckd"], "'i2ckd' changes the term 'cwd_logits' of the others"),
        (["terms.x.loss=gksd"], "unknown loss 'gksd'; did you mean 'gskd'"),
        (["terms.gskd.wieght=5"], "unknown key .*'wieght'; did you mean 'weight'"),
        (["terms.gskd.smaples=5"], "unknown key .*'smaples'; did you mean 'samples'"),
        (["terms.gskd.labels=right"], "terms.gskd.labels: .*got 'right'"),
        (["iterations"], "'iterations' is not a change to the recipe; write key=value"),
        (["train.iterations.x=1"], "'iterations' holds 200, not keys"),
    ],
)
def test_mistakes_in_changes(changes: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load("quickstart", changes)


def test_all_problems_come_in_one_message() -> None:
    with pytest.raises(UserError, match=r"unknown key 'data.rot'.*; unknown key 'train.iteration'"):
        load("camvid", ["train.iteration=5", "data.rot=x"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list", "is not a recipe: expected keys such as data"),
        ("train: {", "is not YAML .line 1"),
        ("data: {name: scenes}", "the recipe has no 'student'"),
    ],
)
def test_mistakes_in_a_file(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load(file)


def test_unknown_recipes() -> None:
    with pytest.raises(UserError, match="unknown recipe 'quikstart'; did you mean 'quickstart'"):
        load("quikstart")
    with pytest.raises(UserError, match="no such recipe file: mine.yaml"):
        load("mine.yaml")
