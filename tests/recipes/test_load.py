"""Recipes: names, files, changes, and one clear line for each mistake."""

from pathlib import Path

import pytest

from segdistill.errors import UserError
from segdistill.recipes import BUILTIN, METHODS, Network, load, to_yaml
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
    assert set(recipe.terms) == {"task", *METHODS[method]}


def test_changes_reach_nested_keys_and_terms() -> None:
    changes = ["train.iterations=7", "data.root=/somewhere", "terms.gskd.weight=5", "terms.gskd.samples=4"]
    recipe = load("quickstart", ["method=gskd", *changes])
    assert recipe.train.iterations == 7
    assert recipe.data.root == "/somewhere"
    assert recipe.terms["gskd"].weight == 5
    assert recipe.terms["gskd"].hyperparameters["samples"] == 4
    assert recipe.terms["gskd"].hyperparameters["stride"] == 8


def test_a_null_takes_a_term_out_and_a_new_one_gets_its_cards_defaults() -> None:
    recipe = load("quickstart", ["method=gskd", "terms.gskd=null", "terms.i2ckd={}"])
    assert set(recipe.terms) == {"task", "kd", "i2ckd"}
    added = recipe.terms["i2ckd"]
    assert (added.loss, added.on, added.labels, added.weight) == ("i2ckd", "head", "valid", 0.6)


def test_on_is_a_word_in_yaml(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("recipe: quickstart\nterms:\n  gskd:\n    on: stage4\n")
    assert load(file).terms["gskd"].on == "stage4"
    assert read("{a: true, b: off, c: 1e-3, d: 7, e: 0.5}") == {"a": True, "b": "off", "c": 0.001, "d": 7, "e": 0.5}


def test_a_file_may_hold_only_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: quickstart\nmethod: kd\ntrain: {iterations: 9}\n")
    recipe = load(file)
    base = load("quickstart")
    assert recipe.name == "mine"
    assert recipe.train == base.train.model_copy(update={"iterations": 9})
    assert set(recipe.terms) == {"task", "kd"}


def test_the_teachers_training_takes_over_the_students_settings() -> None:
    recipe = load("quickstart", ["train.batch_size=4", "teacher.train.iterations=11"])
    assert recipe.teacher is not None
    assert recipe.teacher.train is not None
    assert (recipe.teacher.train.batch_size, recipe.teacher.train.iterations) == (4, 11)


def test_a_budget_scales_every_number_of_steps_and_comes_back_from_the_yaml(tmp_path: Path) -> None:
    lengths = ["train.iterations=300", "train.warmup=25", "train.validate_every=8", "teacher.train.iterations=1001"]
    recipe = load("quickstart", [*lengths, "train.budget=0.07"])
    assert (recipe.train.iterations, recipe.train.warmup, recipe.train.validate_every) == (21, 2, 1)
    assert recipe.teacher is not None
    assert recipe.teacher.train is not None
    assert (recipe.teacher.train.iterations, recipe.teacher.train.warmup) == (71, 2)  # rounded up
    assert recipe.train.budget == recipe.teacher.train.budget == 1
    file = tmp_path / "quickstart.yaml"
    file.write_text(to_yaml(recipe))
    assert load(file) == recipe


def test_a_budget_leaves_a_run_of_one_step_and_what_is_not_a_length_alone() -> None:
    full, recipe = load("quickstart"), load("quickstart", ["train.budget=1e-9", "teacher.train.budget=0.5"])
    assert (recipe.train.iterations, recipe.train.validate_every, recipe.train.warmup) == (1, 1, 0)
    lengths = ("iterations", "validate_every")
    assert recipe.train == full.train.model_copy(update=dict.fromkeys(lengths, 1))
    assert recipe.teacher is not None
    assert recipe.teacher.train is not None
    assert recipe.teacher.train.iterations == 450  # half of its own 900
    assert load("quickstart", ["train.validate_every=null", "train.budget=0.5"]).train.validate_every is None


def steps(*changes: str) -> tuple[int, int]:
    recipe = load("quickstart", ["data.images=[90, 6, 6]", *changes])
    assert recipe.train.epochs is None
    assert recipe.teacher is not None
    assert recipe.teacher.train is not None
    return recipe.train.iterations, recipe.teacher.train.iterations


def test_epochs_are_steps_that_see_every_image_so_often() -> None:
    assert steps("train.epochs=3") == (68, 900)  # 270 images, 4 a step; the teacher has iterations of its own
    assert steps("teacher.train.epochs=0.5") == (400, 12)
    assert steps("train.epochs=2", "teacher.train.epochs=4", "train.budget=0.5") == (23, 45)  # 45 and 90
    assert steps("train.epochs=2", "teacher.train={}") == (45, 45)
    assert steps("train.epochs=2", "train.epochs=null") == (400, 900)


def test_the_last_word_on_the_length_counts(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("recipe: quickstart\ndata: {images: [90, 6, 6]}\ntrain: {epochs: 2}\n")
    (tmp_path / "b.yaml").write_text("recipe: a.yaml\ntrain: {iterations: 7}\n")
    assert load(tmp_path / "a.yaml").train.iterations == 45
    assert load(tmp_path / "a.yaml", ["train.iterations=9"]).train.iterations == 9
    assert load(tmp_path / "b.yaml").train.iterations == 7
    assert load(tmp_path / "b.yaml", ["train.epochs=1"]).train.iterations == 23
    (tmp_path / "quickstart.yaml").write_text(to_yaml(load("quickstart", ["train.epochs=2"])))
    assert load(tmp_path / "quickstart.yaml") == load("quickstart", ["train.epochs=2"])
    assert load(tmp_path / "quickstart.yaml").train.iterations == 200  # 400 images
    with pytest.raises(UserError, match="train: .*epochs and iterations both set the length; give one of them"):
        load("quickstart", ["train.epochs=2", "train.iterations=9"])
    (tmp_path / "a.yaml").write_text("recipe: quickstart\ntrain: {epochs: 2, iterations: 9}\n")
    with pytest.raises(UserError, match="give one of them"):
        load(tmp_path / "a.yaml")


def test_epochs_of_a_folder_count_its_training_images(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("val", 1)):
        for kind, ending in (("images", "jpg"), ("labels", "png")):
            (tmp_path / kind / split).mkdir(parents=True)
            for index in range(count):
                (tmp_path / kind / split / f"{index}.{ending}").touch()
    words = ["train.epochs=8", "train.batch_size=3"]
    assert load("folder", [f"data.root={tmp_path}", *words]).train.iterations == 14  # 40 images
    with pytest.raises(UserError, match=f"{tmp_path}/nowhere"):
        load("folder", [f"data.root={tmp_path}/nowhere", *words])


def test_every_value_that_is_used_is_written_down() -> None:
    text = to_yaml(load("quickstart", ["method=kd"]))
    assert "loss: cross_entropy" in text
    assert "aux_weight: 0.4" in text
    assert "temperature: 1.0" in text


@pytest.mark.parametrize(
    "changes",
    [
        ["terms.gskd=null"],
        ["method=aicsd", "terms.kd.weight={exponential: {start: 1, end: 0}}"],
        ["terms.mine.loss=a.b:c", "terms.task.weight=1e-3"],
    ],
)
def test_a_changed_recipe_comes_back_from_its_yaml(changes: list[str], tmp_path: Path) -> None:
    recipe = load("quickstart", changes)
    file = tmp_path / "quickstart.yaml"
    file.write_text(to_yaml(recipe))
    assert load(file) == recipe


def test_another_model_drops_all_keys_of_the_old_one(tmp_path: Path) -> None:
    old = "{model: mine:build, weights: a.pth, weights_key: net, mean: [0, 0, 0], std: [1, 1, 1], options: {a: 1}}"
    (tmp_path / "base.yaml").write_text(f"recipe: quickstart\nstudent: {old}\n")
    (tmp_path / "new.yaml").write_text("recipe: base.yaml\nstudent: {model: deeplabv3_resnet18}\n")
    assert load(tmp_path / "base.yaml").student.weights_key == "net"
    expected = Network(model="deeplabv3_resnet18")
    assert load(tmp_path / "new.yaml").student == expected
    assert load(tmp_path / "base.yaml", ["student.model=deeplabv3_resnet18"]).student == expected
    kept = load(tmp_path / "base.yaml", ["student.weights=b.pth", "student.model=deeplabv3_resnet18"]).student
    assert (kept.weights, kept.weights_key) == ("b.pth", None)


def test_another_model_takes_none_of_the_old_ones_options(tmp_path: Path) -> None:
    changes = ["student.options={a: 1}", "student.model=deeplabv3_resnet18"]
    assert load("quickstart", changes).student.options == {"a": 1}
    assert load("quickstart", changes[1:]).student.options == {}
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: quickstart\nstudent: {model: deeplabv3_resnet18}\n")
    assert load(file).student.options == {}
    assert load("quickstart").student.options != {}


def test_weights_are_those_of_the_papers() -> None:
    weights = {
        (method, name): term.weight
        for method in METHODS
        for name, term in load("quickstart", [f"method={method}"]).terms.items()
    }
    assert weights["gskd", "gskd"] == weights["dist+gskd", "gskd"] == 10  # GSKD, section V.A
    plug_ins = {"dist+gskd": 10, "cwd+gskd": 2, "skd+gskd": 5, "cirkd+gskd": 5, "af_dcd+gskd": 5}
    assert {method: weights[method, "gskd"] for method in plug_ins} == plug_ins
    assert [weights["cirkd", name] for name in ("kd", "cirkd_minibatch", "cirkd_memory")] == [1, 1, 0.1]
    assert [weights["skd", name] for name in ("kd", "skd_pairwise", "skd_holistic")] == [1, 10, 0.001]
    assert [weights["dsd", name] for name in ("dsd_pixel", "dsd_category")] == [1000, 10]
    assert weights["icsd", "icsd"] == 9500
    assert weights["channel_distillation", "channels_stage2"] == {
        "steps": {"start": 6.0, "factor": 0.9, "at": [0.3, 0.6, 0.9]}
    }
    assert {name: weights[name, name] for name in ("sp", "nst", "ickd")} == {"sp": 3000, "nst": 50, "ickd": 2.5}
    assert weights["cwd", "cwd_features"] == 50  # CIRKD's scripts
    assert weights["cwd", "cwd_logits"] == 3
    assert [weights[name, name] for name in ("at", "fitnet", "ifvd", "skd_pairwise")] == [10_000, 10, 20, 10]
    assert [weights["maskd_aux", name] for name in ("maskd", "maskd_aux")] == [1, 0.4]  # MasKD's train_maskd.py
    assert [weights["pkd", f"pkd_stage{stage}"] for stage in (1, 2, 3, 4)] == [3] * 4  # MMRazor: 6 times the half
    assert weights["i2ckd", "i2ckd"] == 0.6  # I2CKD, section 4
    assert weights["aicsd", "icsd"] == {"linear": {"start": 0.0, "end": 9500.0}}  # AICSD, lambda
    assert all(weights[method, "kd"] == 1 for method in ("kd", "gskd", "cwd", "skd_pairwise"))


def test_methods_joined_by_plus_have_the_terms_of_both() -> None:
    assert set(load("quickstart", ["method=kd+dist"]).terms) == {"task", "kd", "dist"}
    plug_in = load("quickstart", ["method=dist+gskd"]).terms["gskd"]
    # the paper's plug-in, not its stand-alone form
    assert (plug_in.hyperparameters["samples"], plug_in.hyperparameters["stride"]) == (8, "classes")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["train.iteration=5"], "unknown key 'train.iteration'; did you mean 'train.iterations'"),
        (["tarin.iterations=5"], "unknown key 'tarin'; did you mean 'train'"),
        (["train.iterations=many"], "train.iterations: .*got 'many'"),
        (["train.iterations=0"], "train.iterations: .*greater than 0, got 0"),
        (["train.batch_size=9", "train.accumulate=2"], "9 is not a multiple of accumulate 2"),
        (["methods={gskd: 3}"], "methods: expected terms by method"),
        (["train.budget=0"], "train.budget: .*greater than 0, got 0"),
        (["train.epochs=0"], "train.epochs: .*greater than 0, got 0"),
        (["train.epochs=.inf"], "train.epochs: .*finite"),
        (["train.epoch=3"], "unknown key 'train.epoch'; did you mean 'train.epochs'"),
        (["train.floor=1"], "floor 1.0 is above learning_rate 0.003"),
        (["train.decay_at=[30, 60]"], "decay_at takes fractions of the run"),
        (["train.schedule=linear"], "train.schedule: .*got 'linear'"),
        (["method=gksd"], "unknown method 'gksd'; did you mean 'gskd'"),
        (["method=cwd+i2ckd"], "'i2ckd' changes the term 'cwd_logits' of the others"),
        (["terms.x.loss=gksd"], "unknown loss 'gksd'; did you mean 'gskd'"),
        (["terms.gskd.wieght=5"], "unknown key .*'wieght'; did you mean 'weight'"),
        (["terms.gskd.smaples=5"], "unknown key .*'smaples'; did you mean 'samples'"),
        (["terms.gskd.labels=null"], "terms.gskd.labels: gskd needs labels"),
        (["terms.gskd.shuffle=no"], "terms.gskd.shuffle: expected true or false, got 'no'"),
        (["terms.gskd.samples=1.5"], "terms.gskd.samples: expected a whole number, got 1.5"),
        (["terms.kd.temperature=hot"], "terms.kd.temperature: expected a number, got 'hot'"),
        (["method=cwd", "terms.cwd=null"], "unknown term 'cwd'; did you mean 'cwd_features'"),
        (["terms=3"], "change one term at a time"),
        (["data.scales=[2, 1]"], "smallest, largest"),
        (["terms.gskd.labels=right"], "terms.gskd.labels: .*got 'right'"),
        (["iterations"], "'iterations' is not a change to the recipe; write key=value"),
        (["train.iterations.x=1"], "'iterations' holds 400, not keys"),
    ],
)
def test_mistakes_in_changes(changes: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load("quickstart", changes)


def test_all_problems_come_in_one_message() -> None:
    with pytest.raises(UserError, match=r"unknown key 'data.rot'.*; unknown key 'train.iteration'"):
        load("camvid", ["train.iteration=5", "data.rot=x"])


@pytest.mark.parametrize(
    "change",
    [
        "student.options={stride:16}",
        "terms.mine={loss: at, on: head, weight:3}",
        "terms.mine={weight: {start:1, end: 2}}",
        "teacher.train={frozen: [{stride:16}]}",
    ],
)
def test_a_pair_without_a_space_is_not_taken_for_a_key(change: str) -> None:
    with pytest.raises(UserError, match=r"write a space after the colon of '(stride:16|weight:3|start:1)'"):
        load("quickstart", [change])


def test_a_key_with_a_colon_and_a_value_stays() -> None:
    assert load("quickstart", ["student.options={'a:b': 1}"]).student.options == {"a:b": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list", "is not a recipe: expected keys such as data"),
        ("train: {", "is not YAML .line 1"),
        ("train: " + "[" * 5000 + "]" * 5000, "is not YAML: it is nested too deeply"),
        ("train: 2020-13-45", "is not YAML: month must be in 1..12"),
        ("data: {name: scenes}", "the recipe has no 'student'"),
    ],
)
def test_mistakes_in_a_file(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load(file)


def test_a_recipe_that_stands_on_itself(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("recipe: own.yaml")
    with pytest.raises(UserError, match="is based on itself"):
        load(file)


def test_unknown_recipes() -> None:
    with pytest.raises(UserError, match="unknown recipe 'quikstart'; did you mean 'quickstart'"):
        load("quikstart")
    with pytest.raises(UserError, match="no such recipe file: mine.yaml"):
        load("mine.yaml")


def test_a_mistyped_key_of_the_training_is_named_once() -> None:
    with pytest.raises(UserError) as caught:
        load("quickstart", ["train.iteration=3"])
    assert str(caught.value) == "unknown key 'train.iteration'; did you mean 'train.iterations'?"


def test_several_teachers_take_the_place_of_one(tmp_path: Path) -> None:
    file = tmp_path / "several.yaml"
    file.write_text("recipe: quickstart\nteacher: {members: {a: {model: segformer_b0, weights: a.pth}}}\n")
    teacher = load(file).teacher
    assert list(teacher.each) == ["a"]
    assert (teacher.model, teacher.min_miou) == ("", 0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("evaluation.window=32", r"evaluation.window: expected a list, as in evaluation.window=\[1,2\], got 32"),
        ("evaluation.scales=[]", r"evaluation.scales: expected a list of at least 1, got \[\]"),
        ("data.crop=[3]", r"data.crop: expected a list of at least 2, got \[3\]"),
        ("data.crop=[1,2,3]", r"data.crop: expected a list of at most 2, got \[1, 2, 3\]"),
        ("evaluation.stride=[8,8]", "evaluation: stride needs evaluation.window"),
        (
            "evaluation={window: [8, 8], stride: [8, 9]}",
            r"evaluation: stride \[8, 9\] is larger than window \[8, 8\]",
        ),
        ("evaluation.resize_labels=true", "evaluation: resize_labels needs evaluation.short_side"),
    ],
)
def test_lists_of_another_length(change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load("quickstart", [change])


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ("memory", "memory"), ("memmap", "memmap")]
)
def test_kept_images(text: str, value: object, tmp_path: Path) -> None:
    recipe = load("folder", [f"data.cache={text}"])
    assert recipe.data.cache is value or recipe.data.cache == value != (value is True)
    file = tmp_path / "recipe.yaml"
    file.write_text(to_yaml(recipe))
    assert f"cache: {text}" in file.read_text()
    assert load(file) == recipe


def test_kept_images_in_a_way_that_is_unknown() -> None:
    with pytest.raises(UserError, match=r"^data\.cache: expected true, false, memory, memmap, device, got 'disk'$"):
        load("folder", ["data.cache=disk"])
    with pytest.raises(UserError, match=r"cache_folder is the folder of cache=memmap; set data\.cache=memmap"):
        load("folder", ["data.cache=true", "data.cache_folder=/fast"])
