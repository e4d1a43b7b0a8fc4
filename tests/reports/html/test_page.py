"""The page: well formed, readable, closed to the network, small, and without trust in what it shows."""

import base64
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from segdistill.comparison.report import last_lines
from segdistill.data import Classes
from segdistill.errors import UserError
from segdistill.reports.html.alone import is_alone
from segdistill.reports.html.content import comparison_content, run_content
from segdistill.reports.html.page import LARGEST, render, write_page
from tests.reports.html.folders import measured, scene, write_comparison, write_run, write_whole_run
from tests.reports.html.parsed import Element, check


def table(root: Element, caption: str) -> list[list[str]]:
    """Return the cells of the table with a caption, row by row."""
    found = next(each for each in root.all("table") if each.all("caption")[0].words() == caption)
    return [[cell.words() for cell in row.children] for row in found.all("tbody")[0].all("tr")]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write_whole_run(tmp_path / "run")


def test_a_run(whole: Path) -> None:
    root = check(render(run_content(whole, measured(scene("first"), scene("second")))))
    assert root.all("h1")[0].words() == "mine: kd, seed 3"
    assert [code.words() for code in root.all("code")] == [
        "segdistill distill mine.yaml 'name=a b'",
        f"segdistill distill {whole}/recipe.yaml --run-dir {whole}-again",
        f"segdistill predict {whole} IMAGE... --out predictions",
    ]
    rows = {row[0]: row for row in table(root, "mIoU in percent")}
    assert list(rows) == ["student alone", "kd", "teacher"]
    assert rows["kd"][2:6] == ["50.00", "+10.00", "-10.00", "55.00"]  # score, gain, over the teacher, common classes
    assert rows["kd"][6] == "40.00"  # rare: one class with 0.1 % of the pixels
    cards = [each.words().split() for each in root.all("dl")[0].all("dd")]
    assert [words[0] for words in cards] == ["60.0", "40.0", "50.0"]
    assert "+10.0" in cards[2]
    assert table(root, "Costs")[1] == ["kd", "2.00", "3.00", "32x48", "1.50", "3.50", "12"]
    terms = next(each for each in root.all("details") if each.all("summary")[0].words() == "Terms of kd")
    caption = "Terms of the loss; values are without their weights"
    assert table(terms, caption)[1] == ["kd", "kd", "logits", "2", "12", "2", "0.3333", "25.0"]
    titles = [each.words() for each in terms.all("figcaption")]
    assert titles == ["Total loss", "Term task", "Term kd", "Weight of kd", "Learning rate"]
    assert [
        each.all("strong")[0].words() for each in root.all("figure") if each.attributes.get("class") == "scene"
    ] == [
        "first",
        "second",
    ]


def test_common_and_rare_classes_have_a_chart_each(whole: Path) -> None:
    root = check(render(run_content(whole, measured())))
    titles = [each.words() for each in root.all("figcaption")]
    assert "IoU of common classes" in titles
    assert "IoU of rare classes" in titles
    assert table(root, "IoU of each class in percent")[2][:3] == ["<script>alert(1)</script>", "rare", "0.10"]


def test_without_the_frequencies_the_classes_are_not_grouped(whole: Path) -> None:
    page = render(run_content(whole))
    root = check(page)
    assert table(root, "IoU of each class in percent")[0] == ["road", "50.00", "60.00", "70.00"]
    assert "common" not in page.replace("common classes are", "common")[: page.index("<main>")]
    assert "IoU of classes" in [each.words() for each in root.all("figcaption")]


def test_a_class_called_none_keeps_its_name(whole: Path) -> None:
    for file in whole.rglob("result.json"):
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, "iou": {"none": 0.5, "sky": 0.4}}))
    root = check(render(run_content(whole)))
    assert [row[0] for row in table(root, "IoU of each class in percent")] == ["none", "sky"]
    heads = next(each for each in root.all("table") if each.all("caption")[0].words().startswith("IoU of each class"))
    assert [each.words() for each in heads.all("button")] == ["class", "student alone", "kd", "teacher"]


def test_foreign_text_stays_text(whole: Path) -> None:
    evil = '"><img src=x onerror=alert(1)><!--'
    (whole / "alone").rename(whole / "kept")
    recipe = (whole / "recipe.yaml").read_text().replace("name: mine", f"name: '{evil}'")
    (whole / "recipe.yaml").write_text(recipe)
    lines = [
        {"step": 1, "split": "train", "loss": 1.0, evil: 2.0},
        {"step": 2, "split": "train", "loss": 1.0, evil: 2.0},
    ]
    (whole / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = replace(scene(evil), scores={evil: 0.5})
    content = run_content(
        whole, replace(measured(shown), shown=evil, timed=evil, missing=(evil,), milliseconds={evil: 1})
    )
    root = check(render(content))
    assert [each for each in root.all("img") if "onerror" in each.attributes] == []
    assert len(root.all("script")) == 1
    assert evil in root.all("h1")[0].words()
    assert evil in root.all("pre")[0].words()


def test_the_policy_allows_this_script_and_nothing_from_elsewhere(whole: Path) -> None:
    root = check(render(run_content(whole)))
    policy = next(each["content"] for each in root.all("meta") if "http-equiv" in each.attributes)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(root.all("script")[0].words().encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    order = [each.tag for each in root.all("head")[0].children]
    assert order.index("meta") < order.index("style")  # a policy holds from where it is on


def test_differences_have_a_table_charts_and_what_follows(tmp_path: Path) -> None:
    scores = {"none": [0.40, 0.50, 0.45], "kd": [0.44, 0.53, 0.49], "at": [0.41, 0.50, 0.45]}
    folder = write_comparison(tmp_path / "compared", scores)
    root = check(render(comparison_content(folder, measured())))
    rows = table(root, "differences in mIoU to the student alone, points, with 95 % intervals")
    assert [row[:3] for row in rows[:3]] == [["kd", "all", "3"], ["kd", "common", "3"], ["kd", "rare", "3"]]
    assert rows[0][3:5] == ["+3.67 ± 0.58", "+2.23 to +5.10"]  # 4, 3, 4
    assert rows[0][-2:] == ["seeds", "3"]
    assert rows[3][-2:] == ["no", "26"]
    assert "exceeds the interval over seeds: kd +3.67; not: at +0.33 (would need about 26 seeds)" in root.words()
    assert "no interval over images of 9 of 9 runs" in root.words()
    titles = [each.words() for each in root.all("figcaption")]
    assert "Difference to the student alone with 95 % intervals, all classes" in titles
    assert "Difference to the student alone with 95 % intervals, rare classes" in titles


def test_differences_refer_to_the_method_of_the_record(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "compared", {"none": [0.40, 0.50], "kd": [0.44, 0.52]})
    record = json.loads((folder / "comparison.json").read_text())
    (folder / "comparison.json").write_text(json.dumps({**record, "differences": {"reference": "kd"}}))
    root = check(render(comparison_content(folder, measured())))
    rows = table(root, "differences in mIoU to kd, points, with 95 % intervals")
    assert rows[0][:4] == ["student alone", "all", "2", "-3.00 ± 1.41"]
    cards = [each.words() for each in root.all("dl")[0].all("div")]
    assert "points over" not in cards[0]  # kd is the reference, and the best method
    assert "for student alone, kd; the table" in root.words()


def test_the_headline_refers_to_the_reference_of_the_differences(tmp_path: Path) -> None:
    scores = {"none": [0.40, 0.42], "none@time": [0.50, 0.51], "kd": [0.47, 0.49], "control": [0.52, 0.54]}
    folder = write_comparison(tmp_path / "compared", scores)
    record = json.loads((folder / "comparison.json").read_text())
    named = {"control": "none:terms.kd={loss: kd, on: logits, weight: 1.0e-9}"}
    more = {"differences": {"reference": "none@time"}, "named": named}
    (folder / "comparison.json").write_text(json.dumps({**record, **more}))
    content = comparison_content(folder, measured())
    assert content.best == "kd"  # neither of the others is distilled
    root = check(render(content))
    cards = {each.all("dt")[0].words(): each.all("dd")[0].words() for each in root.all("dl")[0].all("div")}
    assert list(cards) == ["none@time", "best on val: kd", "finished"]
    assert cards["best on val: kd"] == "48.0 mIoU, percent; -2.5 points over none@time (mean of 2 seeds)"
    figures = {each.all("figcaption")[0].words(): each for each in root.all("figure")}
    described = {title: each.all("desc")[0].words() for title, each in figures.items()}
    gains = described["Gain over none@time, seed by seed"]
    assert gains.startswith("difference in mIoU, points: student alone -9.50 ± 0.71, kd -2.50 ± 0.71, control 2.50")
    assert "Difference to none@time with 95 % intervals, all classes" in figures
    assert "for none@time, kd; the table" in described["IoU of common classes"]
    assert "The dashed line is none@time." in root.words()
    chart = figures["mIoU of each method"]
    (line,) = [each for each in chart.all("line") if each["class"] == "reference"]
    means = [each["cx"] for each in chart.all("circle") if each["class"] == "mean"]
    assert line["x1"] == means[1]


@pytest.mark.parametrize(
    ("row", "method", "expected"),
    [
        ("none", None, True),
        ("none@flops", None, True),
        ("low@time", "none:train.learning_rate=0.1", True),
        ("control", "none:terms.kd={loss: kd, weight: 1e-9}", True),
        ("focal", "none:terms.task.loss=a:b", True),
        ("attention", "none:terms.at.weight=500", False),
        ("mine", "none:terms.mine={loss: 'a:b'}", False),
        ("kd@time", None, False),
        ("soft", "kd:terms.kd.weight=1e-9", False),
    ],
)
def test_rows_that_are_the_student_alone(row: str, method: str | None, expected: bool) -> None:
    assert is_alone(row, {} if method is None else {row: method}) is expected


def test_one_run_without_intervals_has_no_differences(whole: Path) -> None:
    page = render(run_content(whole, measured()))
    assert "95 % intervals" not in page
    assert "differences in mIoU" not in page


def test_a_comparison(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "compared", {"none": [0.40, 0.50], "kd": [0.44, 0.52], "at": [0.41, 0.50]})
    root = check(render(comparison_content(folder, measured(scene("first")))))
    rows = {row[0]: row for row in table(root, "mIoU in percent")}
    assert rows["kd"][2:4] == ["48.00 ± 5.66", "+3.00 ± 1.41"]
    assert rows["kd"][-1] == "77.1 (GSKD, table 1)"
    assert rows["at"][-1] == "-"
    dots = root.all("svg")[0]
    rings = [each for each in dots.all("circle") if each["class"] == "ring"]
    assert len(rings) == 6  # one for each seed of each method
    cards = [each.words().strip() for each in root.all("dl")[0].all("dt")]
    assert cards == ["student alone", "best on val: kd", "finished"]
    assert f"segdistill predict {folder / 'kd-s1'} IMAGE... --out predictions" in [
        each.words() for each in root.all("code")
    ]


def test_the_facts_are_those_of_the_record(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "compared", {"none": [0.40], "kd": [0.44]})
    record = json.loads((folder / "comparison.json").read_text())
    facts = ["the rows kd and at have the same settings, so their difference is noise", "a <b>file</b> has changed"]
    (folder / "comparison.json").write_text(json.dumps({**record, "facts": facts}))
    root = check(render(comparison_content(folder)))
    assert [each.words() for each in root.all("header")[0].all("ul")[0].all("li")] == facts


def test_a_curve_is_the_mean_of_the_finished_runs(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "c", {"none": [0.40, 0.50], "kd": [0.44, 0.52]})
    (folder / "kd-s1" / "result.json").unlink()
    chart = check(render(comparison_content(folder))).all("polyline")
    values = {each["data-name"]: each["data-values"].split() for each in chart[:2]}
    assert values == {"student alone": ["7.5", "15", "22.5", "30", "37.5", "45"], "kd": values["kd"]}
    assert float(values["kd"][-1]) == 44


@pytest.mark.parametrize(
    ("methods", "expected"), [(4, ""), (5, ", the best 4 of 5 methods"), (6, ", the best 4 of 6 methods")]
)
@pytest.mark.parametrize("teacher", [False, True])
def test_the_chart_of_curves_states_how_many_methods_it_leaves_out(
    tmp_path: Path, methods: int, expected: str, teacher: bool
) -> None:
    scores = {"none": [0.4], **{f"method {number}": [0.5 + number / 100] for number in range(methods)}}
    folder = write_comparison(tmp_path / "c", scores)
    if teacher:
        write_run(folder / "teacher", 0.6, "none")
    root = check(render(comparison_content(folder)))
    title = f"mIoU on val during training{expected}"
    figure = next(each for each in root.all("figure") if each.all("figcaption")[0].words() == title)
    best = [f"method {number}" for number in reversed(range(methods))][:4]
    drawn = [each["data-name"] for each in figure.all("polyline")]
    assert drawn == ["student alone", *best, *(["teacher"] if teacher else [])]


def test_the_best_curves_are_chosen_by_val(tmp_path: Path) -> None:
    scores = {"none": [0.4], **{f"method {number}": [0.5 + number / 100] for number in range(6)}}
    folder = write_comparison(tmp_path / "c", scores)
    file = folder / "method 0-s0" / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "val_miou": 0.9}))  # the worst one on test
    root = check(render(comparison_content(folder)))
    titles = {each.all("figcaption")[0].words(): each for each in root.all("figure")}
    drawn = [
        each["data-name"] for each in titles["mIoU on val during training, the best 4 of 6 methods"].all("polyline")
    ]
    assert drawn == ["student alone", "method 0", "method 5", "method 4", "method 3"]


RINGS = "A ring is one seed, a dot the mean over seeds, a bar its standard deviation."


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"none": [0.4, 0.5], "kd": [0.5, 0.6]}, f"{RINGS} The dashed line is the student alone."),
        ({"none": [0.4], "kd": [0.5]}, "The dashed line is the student alone."),
        ({"kd": [0.5, 0.6]}, RINGS),
        ({"kd": [0.5]}, None),
    ],
)
def test_the_note_on_scores_describes_what_is_drawn(
    tmp_path: Path, scores: dict[str, list[float]], expected: str | None
) -> None:
    root = check(render(comparison_content(write_comparison(tmp_path / "c", scores))))
    notes = [each.words() for each in root.all("section")[0].all("p")]
    assert [note for note in notes if "ring" in note or "dashed" in note] == ([] if expected is None else [expected])


def test_the_legend_of_differences_is_there_with_differences(whole: Path) -> None:
    text = "in a difference: only the student alone is right"
    assert text in check(render(run_content(whole, measured(scene("first"))))).words()
    assert "in a difference" not in render(run_content(whole, measured(scene("first", networks=1))))
    assert "in a difference" not in render(run_content(whole, measured(replace(scene("first"), reference=None))))


def test_the_key_of_intervals_names_those_that_are_drawn(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "c", {"none": [0.40, 0.50], "kd": [0.44, 0.52]})  # without images.json
    figures = check(render(comparison_content(folder, measured()))).all("figure")
    keys = [each.all("ul")[0].words() for each in figures if "95 % intervals" in each.all("figcaption")[0].words()]
    assert keys == ["over seeds"] * 3


def test_counts_and_bounds_sort_as_numbers_and_dashes_are_last(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "c", {"none": [0.40, 0.50, 0.45], "kd": [0.41, 0.49, 0.455], "at": [0.5] * 3})
    root = check(render(comparison_content(folder, measured())))

    def values(caption: str, column: int) -> list[tuple[str, str]]:
        found = next(each for each in root.all("table") if each.all("caption")[0].words() == caption)
        cells = [row.children[column] for row in found.all("tbody")[0].all("tr")]
        return [(each.words(), each["data-value"]) for each in cells]

    assert values("mIoU in percent", 1)[0] == ("3 of 3", "3.0")
    assert values("mIoU in percent", -1)[::2] == [("-", ""), ("-", "")]  # published: at and none have no value
    needed = values("differences in mIoU to the student alone, points, with 95 % intervals", -1)
    assert needed[0] == ("> 100", "100.5")


def test_methods_without_a_curve_are_not_counted(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "c", {"none": [0.4], **{f"method {i}": [0.5] for i in range(5)}})
    (folder / "method 1-s0" / "metrics.jsonl").unlink()
    titles = [each.words() for each in check(render(comparison_content(folder))).all("figcaption")]
    assert "mIoU on val during training" in titles


@pytest.mark.parametrize(("methods", "left_out"), [(11, []), (13, ["method 11", "method 12"])])
def test_a_note_names_the_methods_without_terms(tmp_path: Path, methods: int, left_out: list[str]) -> None:
    scores = {"none": [0.4], **{f"method {number}": [0.5] for number in range(methods)}}
    root = check(render(comparison_content(write_comparison(tmp_path / "c", scores))))
    shown = [each.words() for each in root.all("summary") if each.words().startswith("Terms of ")]
    assert len(shown) == 12
    notes = [each.words() for each in root.all("p") if "in metrics.jsonl of" in each.words()]
    expected = f"The first 12 methods; the terms of {', '.join(left_out)} are in metrics.jsonl of their runs."
    assert notes == ([expected] if left_out else [])


def test_the_winner_may_be_the_student_alone(tmp_path: Path) -> None:
    content = comparison_content(write_comparison(tmp_path / "c", {"none": [0.40, 0.53], "kd": [0.45, 0.46]}))
    assert content.best == "kd"
    assert content.winner.method == "student alone"
    assert content.winner.records.folder.name == "none-s1"
    assert content.commands["Use the best student"].startswith(f"segdistill predict {tmp_path / 'c' / 'none-s1'} ")
    assert list(last_lines(content)) == [
        "the student alone has the highest mean score on val; to use its best student:",
        f"  segdistill predict {tmp_path / 'c' / 'none-s1'} IMAGE... --out predictions",
    ]


def test_a_run_that_is_not_finished(whole: Path) -> None:
    (whole / "result.json").unlink()
    killed = (whole / "metrics.jsonl").read_bytes()[:-20] + b"\xff"  # while it wrote a line
    (whole / "metrics.jsonl").write_bytes(killed)
    page = render(run_content(whole))
    root = check(page)
    assert [row[:3] for row in table(root, "mIoU in percent")] == [
        ["student alone", "1 of 1", "40.00"],
        ["kd", "0 of 1", "-"],
        ["teacher", "-", "60.00"],
    ]
    assert "Term kd" in [each.words() for each in root.all("figcaption")]
    assert "run: not begun" in page


def test_a_run_of_an_earlier_version(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps({"miou": 0.5, "iou": {"road": 0.5, "sky": None}, "method": "kd"}))
    root = check(render(run_content(folder)))
    assert table(root, "mIoU in percent")[0][:3] == ["kd", "1 of 1", "50.00"]
    assert table(root, "IoU of each class in percent") == [["road", "50.00"], ["sky", "-"]]


def test_a_classification(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", 0.5, "none")
    found = {
        "top1": 0.7,
        "accuracy": {"cat": 0.8, "dog": 0.6},
        "method": "none",
        "split": "val",
        "params": 1,
        "seconds": 1,
    }
    (folder / "result.json").write_text(json.dumps(found))
    root = check(render(run_content(folder)))
    assert table(root, "top-1 accuracy in percent")[0][2] == "70.00"


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run or comparison; give a folder that distill"):
        run_content(tmp_path)
    folder = write_run(tmp_path / "run", 0.5, "kd")
    (folder / "result.json").write_text('{"miou": "high", "iou": {}}')
    with pytest.raises(UserError, match=r"result.json is damaged; delete it"):
        run_content(folder)


# The size.


def test_pictures_that_do_not_fit_are_left_out_and_counted(whole: Path) -> None:
    scenes = [scene(f"image {number}", size=(480, 480), noisy=True) for number in range(8)]
    page = render(run_content(whole, measured(*scenes)))
    assert 1_000_000 < len(page.encode()) <= LARGEST
    root = check(page)
    kept = [each for each in root.all("figure") if each.attributes.get("class") == "scene"]
    assert 0 < len(kept) < 8
    assert f"{8 - len(kept)} more are left out, to keep the page small." in page


@pytest.mark.parametrize("largest", [200_000, 300_000, 400_000])
def test_pictures_and_the_rest_together_fit(whole: Path, largest: int) -> None:
    content = run_content(whole, measured(*(scene(str(number), size=(60, 60), noisy=True) for number in range(40))))
    size = len(render(content, largest).encode())
    assert largest - 50_000 < size <= largest


def test_a_comparison_of_any_size_fits(tmp_path: Path) -> None:
    names = [f"class number {number}" for number in range(1000)]
    folder = write_comparison(tmp_path / "compared", {"none": [0.4], **{f"method {i}": [0.5] for i in range(30)}})
    for file in folder.glob("*/result.json"):
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, "iou": dict.fromkeys(names, 0.5)}))
    record = json.loads((folder / "comparison.json").read_text())
    (folder / "comparison.json").write_text(json.dumps({**record, "pixels": dict.fromkeys(names, 10)}))
    lines = (folder / "none-s0" / "metrics.jsonl").read_text().splitlines()
    many = [{**json.loads(lines[1]), "step": step, "loss": 1 / (step + 1)} for step in range(5000)]
    for run in folder.glob("*-s0"):
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in many))
    whole_page = render(comparison_content(folder, replace(measured(), classes=Classes(tuple(names[:200])))))
    check(whole_page)
    assert len(whole_page.encode()) <= LARGEST
    assert "The 160 most frequent classes; 840 more are in result.json." in whole_page
    small = render(comparison_content(folder), largest=500_000)
    assert len(small.encode()) < 500_000 < len(whole_page.encode())
    assert "The curves of the terms are left out" in small


def test_the_same_folder_gives_the_same_file(whole: Path) -> None:
    file = write_page(run_content(whole))
    assert file == whole / "report.html"
    assert file.read_text(encoding="utf-8") == render(run_content(whole))


def test_a_copy_elsewhere_gives_the_same_tables(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "copy")
    one, other = (check(render(run_content(folder))) for folder in (whole, tmp_path / "copy"))
    assert table(one, "mIoU in percent") == table(other, "mIoU in percent")
