"""The names that users write: commands, options, recipe keys, Python names, files of a run's folder.

The lists are literal, so that a name changes only when its list is changed with it.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest
import typer
from rich.console import Console

import segdistill
from segdistill import data, losses, models
from segdistill.catalogue.cards import LOSS_CARDS
from segdistill.catalogue.methods import METHODS
from segdistill.cli.app import app
from segdistill.recipes import BUILTIN
from segdistill.recipes.keys import describe, key_names
from segdistill.training.run import distill
from tests.tiny import tiny

OPTIONS = {
    "": "--version --debug --install-completion --show-completion",
    "bench": "--images --trust",
    "compare": "--methods --seeds --run-dir --equal --reference --dry-run --jobs --against --trust",
    "data": "",
    "distill": "--run-dir --resume --trust",
    "doctor": "--trust",
    "evaluate": "--trust",
    "explain": "--image --count --feature --trust",
    "export": "--format --out --raw --images --trust",
    "hub": "--license --out",
    "losses": "",
    "models": "--costs",
    "predict": "--out --seconds --trust",
    "push": "--private",
    "recipes": "--key",
    "report": "--trust",
    "sweep": "--set --trials --method --seed --run-dir --trust",
    "taps": "--classes --size",
    "train": "--run-dir --resume --trust --teacher",
}
"""Options by command; "" is ``segdistill`` itself."""

ARGUMENTS = {
    "bench": "run changes",
    "compare": "recipe changes",
    "data": "name changes",
    "distill": "recipe changes",
    "doctor": "recipe changes",
    "evaluate": "run changes",
    "explain": "runs",
    "export": "run changes",
    "hub": "run",
    "losses": "",
    "models": "",
    "predict": "student inputs",
    "push": "folder name",
    "recipes": "name",
    "report": "runs",
    "sweep": "recipe changes",
    "taps": "model",
    "train": "recipe changes",
}
"""Positional arguments by command, in order."""

KEYS = """
name experiment description seed method methods terms baseline student data train teacher evaluation
data.name data.root data.split data.crop data.scales data.short_side data.blur data.scale data.cache
data.cache_folder data.workers data.allow_empty_classes data.size data.images
student.model student.options student.weights student.weights_key student.mean student.std
student.align_corners teacher.align_corners student.freeze teacher.freeze
evaluation.scales evaluation.flip evaluation.window evaluation.stride
evaluation.short_side evaluation.resize_labels evaluation.batch_size evaluation.absent
teacher.model teacher.options teacher.weights teacher.weights_key teacher.mean teacher.std teacher.members
teacher.min_miou teacher.train teacher.replay teacher.replay_type teacher.replay_folder
teacher.train.budget teacher.train.iterations teacher.train.epochs teacher.train.batch_size teacher.train.accumulate
teacher.train.optimizer teacher.train.learning_rate teacher.train.rate_factors teacher.train.momentum
teacher.train.weight_decay teacher.train.schedule teacher.train.power teacher.train.decay teacher.train.decay_at
teacher.train.floor teacher.train.warmup teacher.train.clip teacher.train.clip_modules teacher.train.precision
teacher.train.plain teacher.train.compile teacher.train.recompute
teacher.train.accelerator teacher.train.devices teacher.train.nodes teacher.train.validate_every
teacher.train.save_every teacher.train.log_every teacher.train.tensorboard
train.budget train.iterations train.epochs train.batch_size train.accumulate train.optimizer train.learning_rate
train.rate_factors train.momentum train.weight_decay train.schedule train.power train.decay train.decay_at train.floor
train.warmup train.clip train.clip_modules train.precision train.plain train.compile train.recompute
train.accelerator train.devices train.nodes
train.validate_every train.save_every train.log_every train.tensorboard
"""

TERM_KEYS = """
loss on labels teacher weight resize needs_teacher
"""
"""Below ``terms.NAME``, for every loss."""

HYPERPARAMETERS = {
    "af_dcd": "student_channels teacher_channels groups pool patch mask_ratio temperature fd_weight contrast_weight",
    "at": "p",
    "attnfd": "channels reduction",
    "channel_distillation": "",
    "cirkd_memory": """
        num_classes channels student_channels pixel_size region_size pixel_contrast region_contrast temperature
    """,
    "cirkd_minibatch": "temperature pool images",
    "crd": "student_channels teacher_channels size negatives dim temperature momentum",
    "cross_entropy": "aux_weight",
    "csc": "",
    "cwd": "temperature",
    "diffkd": "student_channels teacher_channels latent_channels steps",
    "dist": "inter intra temperature",
    "dkd": "target others temperature standardize",
    "dsd_category": "temperature pool",
    "dsd_pixel": "",
    "fitnet": "normalize",
    "freekd": "channels tokens levels num_classes first_stage",
    "fsp": "",
    "gskd": "samples stride temperature sampling group shuffle num_classes",
    "i2ckd": "margin num_classes across_processes",
    "ickd": "",
    "icsd": "form",
    "ifvd": "num_classes",
    "kd": "temperature standardize",
    "knowledge_adaptation": """
        student_channels teacher_channels latent_channels adapt_weight affinity_weight p q first_stage
    """,
    "maskd": "channels tokens num_classes first_stage",
    "md": "zero first",
    "mgd": "student_channels teacher_channels mask_ratio",
    "nst": "",
    "ofd": "student_channels teacher_channels margin",
    "qsd": "student_channels teacher_channels",
    "reviewkd": "student_channels teacher_channels width",
    "rkd": "distance angle",
    "skd_holistic": "num_classes",
    "skd_pairwise": "pool",
    "sp": "",
    "srrl": "student_channels classifier",
}
"""Below ``terms.NAME``, by loss."""

RECIPES = """
quickstart camvid folder gskd_cityscapes_deeplabv3_r18 gskd_cityscapes_deeplabv3_mobilenetv2
gskd_cityscapes_pspnet_r18 gskd_cityscapes_segformer_b0 gskd_camvid_deeplabv3_r18 gskd_camvid_pspnet_r18
gskd_voc_deeplabv3_r18 gskd_voc_pspnet_r18 gskd_ade20k_deeplabv3_r18 gskd_imagenet_r18 aicsd_voc_r18
aicsd_voc_mobilenetv2 aicsd_cityscapes_r18 aicsd_cityscapes_mobilenetv2 i2ckd_cityscapes_deeplabv3_r18
i2ckd_cityscapes_pspnet_r18 i2ckd_voc_deeplabv3_r18 i2ckd_voc_pspnet_r18 i2ckd_camvid_deeplabv3_r18
i2ckd_camvid_pspnet_r18
"""

METHOD_NAMES = """
none kd kd_standardized cwd cirkd dist skd af_dcd skd_pairwise at fitnet ifvd cirkd_minibatch dsd gskd skd+gskd cwd+gskd
cirkd+gskd af_dcd+gskd dist+gskd icsd aicsd aicsd_exponential i2ckd channel_distillation ickd sp nst fsp rkd md csc
maskd maskd_aux freekd diffkd knowledge_adaptation ofd crd srrl reviewkd mgd attnfd pkd qsd
transkd_embeddings
"""

DATA_SETS = "camvid cityscapes voc ade20k cocostuff folder imagenet hf scenes shapes"

PYTHON = {
    "segdistill": """
        Distiller Ensemble Run Term compare distill load losses method_terms models schedules train
    """,
    "segdistill.losses": """
        AT CRD CSC CWD DIST DKD FSP GSKD I2CKD ICKD ICSD IFVD KD MD NST OFD RKD SP SRRL AfDCD AttnFD CIRKDMemory
        CIRKDMiniBatch ChannelDistillation CrossEntropy DSDCategory DSDPixel DiffKD FitNet FreeKD
        KnowledgeAdaptation MGD MasKD QSD ReviewKD SKDHolistic SKDPairwise at channel_distillation cirkd_minibatch
        cross_entropy csc cwd dist dkd dsd_category dsd_pixel fitnet fsp gskd i2ckd ickd icsd ifvd kd md nst rkd
        skd_pairwise sp sub_image_descriptor_kl Loss SelfTaught
    """,
    "segdistill.models": """
        LoadReport build check_name license load load_weights names read_description save_student wrap
    """,
    "segdistill.data": """
        DATASETS DATASET_CARDS ClassFrequencies Classes ClassificationDataset DatasetCard ImageDataset LabelReport
        Layout Scenes SegmentationDataset Shapes Split Task TrainingStream class_frequencies
        classification_evaluation_transform classification_training_transform dataset_card denormalize
        evaluation_loader evaluation_transform open_dataset open_layout scan_labels training_loader
        training_transform
    """,
}
"""Public names by module."""

RUN_FOLDER = """
alone/checkpoints/best.pt
alone/checkpoints/last.pt
alone/environment.json
alone/figures/training_samples.png
alone/images.json
alone/metrics.jsonl
alone/recipe.yaml
alone/result.json
alone/student.json
alone/student.safetensors
checkpoints/best.pt
checkpoints/last.pt
environment.json
figures/comparison.png
figures/training_samples.png
images.json
metrics.jsonl
recipe.yaml
report.html
result.json
student.json
student.safetensors
teacher/checkpoints/best.pt
teacher/checkpoints/last.pt
teacher/environment.json
teacher/figures/training_samples.png
teacher/images.json
teacher/metrics.jsonl
teacher/recipe.yaml
teacher/result.json
teacher/student.json
teacher/student.safetensors
"""
"""Files of the folder of a run, of its teacher and of its student alone."""


def agree(what: str, listed: str, found: Iterable[str]) -> None:
    """Fail with what to do about a name that is new, or gone."""
    before, now = set(listed.split()), set(found)
    if before != now:
        pytest.fail(
            f"{what}: new {sorted(now - before)}, gone {sorted(before - now)}. If that is meant, change the list in "
            "tests/test_surface.py and write a line in CHANGELOG.md; a name that is gone breaks what users wrote.",
            pytrace=False,
        )


def test_commands_and_options() -> None:
    root = typer.main.get_command(app)
    agree("commands", " ".join(OPTIONS.keys() - {""}), root.commands)
    for name, command in {"": root, **root.commands}.items():
        found = [option for each in command.params if each.param_type_name == "option" for option in each.opts]
        agree(f"options of segdistill {name}", OPTIONS[name], found)


def test_arguments_in_their_order() -> None:
    for name, command in typer.main.get_command(app).commands.items():
        found = [each.name for each in command.params if each.param_type_name == "argument"]
        assert found == ARGUMENTS[name].split(), f"segdistill {name}"


def test_keys_of_a_recipe() -> None:
    agree("keys of a recipe", KEYS, key_names())


def test_keys_of_a_term() -> None:
    prefix = "terms.mine."
    agree("keys of a term", TERM_KEYS, (key.name.removeprefix(prefix) for key in describe("terms.mine")))


def test_hyperparameters() -> None:
    agree("losses", " ".join(HYPERPARAMETERS), (card.name for card in LOSS_CARDS))
    for name, listed in HYPERPARAMETERS.items():
        found = {key.name.removeprefix(f"terms.{name}.") for key in describe(f"terms.{name}")}
        agree(f"hyperparameters of {name}", listed, found - set(TERM_KEYS.split()))


def test_recipes_methods_and_data_sets() -> None:
    agree("built-in recipes", RECIPES, BUILTIN)
    agree("methods", METHOD_NAMES, METHODS)
    agree("data sets", DATA_SETS, data.DATASETS)


@pytest.mark.parametrize("module", [segdistill, losses, models, data], ids=lambda module: module.__name__)
def test_public_python_names(module: object) -> None:
    agree(module.__name__, PYTHON[module.__name__], module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_files_of_a_run(tmp_path: Path) -> None:
    distill(tiny("train.iterations=3", "train.log_every=1"), tmp_path, console=Console(quiet=True))
    found = (path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    agree("files of a run's folder", RUN_FOLDER, found)
