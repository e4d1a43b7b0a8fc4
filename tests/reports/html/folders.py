"""Folders of runs and comparisons, written by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from segdistill.data import Classes
from segdistill.reports.html.data import Measured
from segdistill.reports.html.pictures import Scene

NAMES = ("road", "sky", "<script>alert(1)</script>")
RECIPE = """\
name: mine
seed: 3
method: kd
data: {name: scenes, root: null, scale: 1.0, crop: [32, 48]}
student: {model: small_net}
teacher: {model: large_net, weights: null, train: {iterations: 9}}
train: {iterations: 6, batch_size: 4}
terms:
  task: {loss: cross_entropy, on: logits, weight: 1.0}
  kd: {loss: kd, on: logits, weight: 2.0}
"""


def result(miou: float, method: str, **more: Any) -> dict[str, Any]:
    return {
        "miou": miou,
        "iou": dict(zip(NAMES, (miou + 0.1, miou, miou - 0.1), strict=True)),
        "pixel_accuracy": miou + 0.2,
        "split": "test",
        "params": 2_000_000,
        "flops": 3_000_000_000,
        "flops_size": [32, 48],
        "seconds": 12.5,
        "seed": 3,
        "method": method,
        "val_miou": miou + 0.01,
        **more,
    }


def write_run(folder: Path, miou: float, method: str, *, seed: int = 3, steps: int = 6, **more: Any) -> Path:
    """Write the folder of a finished run."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(
        RECIPE.replace("seed: 3", f"seed: {seed}").replace("method: kd", f"method: {method}")
    )
    (folder / "result.json").write_text(json.dumps(result(miou, method, seed=seed, **more)))
    environment = {
        "segdistill": "0.1.0",
        "packages": {"torch": "2.15.0"},
        "gpus": [],
        "cpu_cores": 2,
        "torch_threads": 1,
    }
    environment["command"] = ["segdistill", "distill", "mine.yaml", "name=a b"]
    (folder / "environment.json").write_text(json.dumps(environment))
    distils = method != "none"
    lines = [{"step": 1, "split": "gradient_share", "task": 0.75, **({"kd": 0.25} if distils else {})}]
    for step in range(1, steps + 1):
        terms = {"task": 1 / step, "weight/task": 1.0, **({"kd": 2 / step, "weight/kd": 2.0 * step} if distils else {})}
        lines.append({"step": step, "split": "train", "loss": 5 / step, **terms, "learning_rate": 0.01})
        lines.append({"step": step, "split": "val", "miou": miou * step / steps})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "student.safetensors").write_bytes(b"x" * 1_500_000)
    return folder


def write_whole_run(folder: Path) -> Path:
    """Write the folder of a run with its student alone and its teacher."""
    teacher = {key: value for key, value in result(0.6, "none", params=8_000_000).items() if key != "method"}
    write_run(folder, 0.5, "kd", teacher=teacher)
    write_run(folder / "alone", 0.4, "none")
    write_run(folder / "teacher", 0.6, "none", params=8_000_000)
    return folder


def write_comparison(folder: Path, methods: dict[str, list[float]]) -> Path:
    """Write the folder of a comparison: for each method, the score of each seed."""
    runs = []
    for method, scores in methods.items():
        for seed, score in enumerate(scores):
            write_run(folder / f"{method}-s{seed}", score, method, seed=seed)
            runs.append({"folder": f"{method}-s{seed}", "method": method, "seed": seed})
    pixels = dict(zip(NAMES, (900, 99, 1), strict=True))
    table = [{"method": method, "published": "77.1 (GSKD, table 1)" if method == "kd" else None} for method in methods]
    record = {"recipe": {"name": "mine"}, "pixels": pixels, "named": {}, "runs": runs, "table": table}
    (folder / "comparison.json").write_text(json.dumps(record))
    return folder


def scene(name: str, *, size: tuple[int, int] = (32, 48), noisy: bool = False, networks: int = 2) -> Scene:
    """Return a scene of random labels; noisy pictures cannot be compressed."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (*size, 3)).astype(np.uint8) if noisy else np.full((*size, 3), 90, np.uint8)
    truth = random.integers(0, 3, size).astype(np.uint8)
    titles = ["student alone", *(f"method {number}" for number in range(1, networks))]
    predicted = {title: random.integers(0, 3, size).astype(np.uint8) for title in titles}
    return Scene(name, image, truth, predicted, dict.fromkeys(titles, 0.5), "student alone")


def measured(*scenes: Scene) -> Measured:
    """Return measurements with these scenes."""
    return Measured(
        pixels=dict(zip(NAMES, (900, 99, 1), strict=True)),
        milliseconds={"student alone": 3.0, "kd": 3.5, "teacher": 20.0},
        timed="timed",
        classes=Classes(NAMES),
        scenes=scenes,
        shown="shown",
    )
