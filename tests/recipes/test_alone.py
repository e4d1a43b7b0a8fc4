"""What the student alone is: the recipe without its distillation terms and what the method sets of the task."""

from pathlib import Path

import pytest

from segdistill.errors import UserError
from segdistill.recipes import Recipe, alone_recipe, load, to_yaml

PLAIN = {"loss": "cross_entropy", "on": "logits", "labels": "valid", "weight": 1.0, "aux_weight": 0.4}


def terms(recipe: Recipe) -> dict[str, dict[str, object]]:
    return {name: term.model_dump(exclude_none=True) for name, term in recipe.terms.items()}


@pytest.mark.parametrize("method", ["kd", "gskd", "aicsd", "none"])
def test_of_a_recipe_that_says_nothing_of_its_task_it_is_plain_cross_entropy(method: str) -> None:
    alone = alone_recipe(load("quickstart", [f"method={method}"]))
    assert terms(alone) == {"task": PLAIN}
    assert (alone.teacher, alone.method, alone.baseline) == (None, "none", False)


@pytest.mark.parametrize("method", ["kd", "none"])
def test_what_is_said_of_the_task_stays(method: str) -> None:
    own = "terms.task={loss: 'mine:rare', on: head, labels: valid, weight: 0.5, gamma: 2}"
    alone = alone_recipe(load("quickstart", [f"method={method}", own]))
    assert terms(alone) == {"task": {"loss": "mine:rare", "on": "head", "labels": "valid", "weight": 0.5, "gamma": 2}}
    assert not alone.distils


def test_what_the_method_sets_of_the_task_goes_with_it() -> None:
    recipe = load("quickstart", ["method=aicsd", "terms.task.aux_weight=0.1"])
    assert recipe.terms["task"].weight == {"linear": {"start": 0.0, "end": 1.0}}
    assert terms(alone_recipe(recipe)) == {"task": {**PLAIN, "aux_weight": 0.1}}
    recipe = load("quickstart", ["method=aicsd", "terms.task.loss='mine:rare'"])
    assert terms(alone_recipe(recipe)) == {
        "task": {"loss": "mine:rare", "on": "logits", "labels": "valid", "weight": 1.0}
    }
    of_the_recipe = "methods={mine: {task: {weight: 0.1}, kd: {weight: 0.9}}}"
    assert terms(alone_recipe(load("quickstart", [of_the_recipe, "method=mine"]))) == {"task": PLAIN}


def test_a_further_term_of_the_method_goes_with_it() -> None:
    method = "methods={mine: {deep: {loss: cross_entropy, on: stage3, weight: 0.2}, kd: {}}}"
    assert set(alone_recipe(load("quickstart", [method, "method=mine"])).terms) == {"task"}


def test_a_further_term_that_needs_no_teacher_stays() -> None:
    recipe = load("quickstart", ["method=kd", "terms.deep={loss: cross_entropy, on: stage3, weight: 0.2}"])
    assert set(alone_recipe(recipe).terms) == {"task", "deep"}
    assert recipe.label == "kd"
    recipe = load("quickstart", ["method=kd", "terms.deep={loss: cross_entropy, labels: teacher_correct}"])
    assert set(alone_recipe(recipe).terms) == {"task"}
    recipe = load("quickstart", ["method=none", "terms.deep={loss: cross_entropy, on: stage3, weight: 0.2}"])
    assert not recipe.distils


def test_a_loss_of_ones_own_that_needs_no_teacher_stays(tmp_path: Path) -> None:
    own = ["terms.edge.loss=my_loss:edge", "terms.edge.needs_teacher=false"]
    recipe = load("quickstart", ["method=kd", *own])
    assert set(alone_recipe(recipe).terms) == {"task", "edge"}
    assert (recipe.label, set(recipe.distillation)) == ("kd", {"kd"})
    alone = load("quickstart", ["method=none", *own])
    assert (alone.label, alone.distils) == ("none", False)
    (tmp_path / "written.yaml").write_text(to_yaml(recipe))
    assert load(tmp_path / "written.yaml") == recipe
    for words in (own[:1], [own[0], "terms.edge.needs_teacher=true"], [*own, "terms.edge.labels=teacher_correct"]):
        assert load("quickstart", ["method=none", *words]).distils
    with pytest.raises(UserError, match=r"terms\.kd\.needs_teacher: a key for losses of your own; leave it out for kd"):
        load("quickstart", ["method=kd", "terms.kd.needs_teacher=false"])


def test_a_task_that_asks_the_teacher_asks_nobody() -> None:
    recipe = load("quickstart", ["method=none", "terms.task.labels=teacher_correct"])
    assert recipe.distils
    assert terms(alone_recipe(recipe)) == {"task": PLAIN}


def test_distilling_without_labels_the_student_alone_still_learns() -> None:
    assert terms(alone_recipe(load("quickstart", ["terms.task.weight=0"]))) == {"task": PLAIN}


def test_it_is_its_own_student_alone_and_comes_back_from_its_yaml(tmp_path: Path) -> None:
    alone = alone_recipe(load("quickstart", ["terms.task.aux_weight=0", "method=aicsd"]))
    assert alone_recipe(alone) == alone
    (tmp_path / "quickstart.yaml").write_text(to_yaml(alone))
    assert load(tmp_path / "quickstart.yaml") == alone


def test_the_task_is_the_students_own() -> None:
    with pytest.raises(UserError, match=r"terms.task.loss: kd needs a teacher.*terms.kd={}, and terms.task.weight=0"):
        load("quickstart", ["method=none", "terms.task.loss=kd"])
    advised = load("quickstart", ["method=none", "terms.kd={}", "terms.task.weight=0"])
    assert {name: term.weight for name, term in advised.terms.items()} == {"task": 0, "kd": 1}
    with pytest.raises(UserError, match=r"terms.task cannot be removed; terms.task.weight=0"):
        load("quickstart", ["terms.task=null"])


# What was said of one method's terms, and another method.


def test_what_was_changed_of_a_methods_terms_holds_where_another_has_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: quickstart\nmethod: gskd\nterms: {gskd: {weight: 5}, task: {aux_weight: 0}}\n")
    assert set(load(file, ["method=kd"]).terms) == {"task", "kd"}
    assert load(file, ["method=dist+gskd"]).terms["gskd"].weight == 5
    assert load(file, ["method=kd"]).terms["task"].hyperparameters == {"aux_weight": 0}
    file.write_text("recipe: quickstart\nmethod: gskd\nterms: {gskd: {samples: 16}}\n")  # gskd's own, and meant
    assert load(file, ["method=dist+gskd"]).terms["gskd"].hyperparameters["samples"] == 16
    (tmp_path / "other.yaml").write_text("recipe: mine.yaml\nmethod: kd\n")
    assert set(load(tmp_path / "other.yaml").terms) == {"task", "kd"}
    added = load(file, ["terms.at={}", "method=kd"])
    assert (set(added.terms), added.label) == ({"task", "kd", "at"}, "kd+at")


@pytest.mark.parametrize("method", ["none", "kd", "i2ckd", "dist+gskd"])
@pytest.mark.parametrize("before", ["cwd", "aicsd", "gskd"])
def test_a_recipe_that_is_written_out_says_no_more_than_its_method(before: str, method: str, tmp_path: Path) -> None:
    file = tmp_path / "quickstart.yaml"
    file.write_text(to_yaml(load("quickstart", [f"method={before}"])))
    assert load(file, [f"method={method}"]) == load("quickstart", [f"method={method}"])


def test_a_loss_is_a_method_too() -> None:
    recipe = load("quickstart", ["method=dkd"])
    assert terms(recipe) == terms(load("quickstart", ["method=none", "terms.dkd={}"]))
    assert set(load("quickstart", ["method=kd+dkd"]).terms) == {"task", "kd", "dkd"}
    assert set(load("quickstart", ["method=cwd"]).terms) == {"task", "kd", "cwd_logits", "cwd_features"}
    with pytest.raises(UserError, match="unknown method 'dkdd'; did you mean 'dkd'"):
        load("quickstart", ["method=dkdd"])
    with pytest.raises(UserError, match="unknown method 'cross_entropy'"):
        load("quickstart", ["method=cross_entropy"])


def test_a_label_names_what_was_added() -> None:
    assert load("quickstart", ["method=kd", "terms.kd.weight=2"]).label == "kd"
    assert load("quickstart", ["method=kd", "terms.mine.loss=a:b"]).label == "kd+mine"
    assert load("quickstart", ["method=none", "terms.mine.loss=a:b"]).label == "mine"
