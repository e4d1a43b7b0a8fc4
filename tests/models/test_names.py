"""Names: what is accepted, what is offered instead, and that none of it imports PyTorch."""

import subprocess
import sys

import pytest
import segmentation_models_pytorch as smp

from segdistill import models
from segdistill.errors import UserError
from segdistill.models.names import ARCHITECTURES


def test_names_and_their_errors_do_not_import_torch() -> None:
    code = (
        "import sys\nfrom segdistill import models\n"
        "from segdistill.models.names import check_name\nmodels.names()\n"
        "try:\n    check_name('deeplabv3_resnet19')\nexcept ValueError as error:\n    print(error)\n"
        "print([name for name in ('torch', 'timm', 'torchvision') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "did you mean 'deeplabv3_resnet18'" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_the_architectures_are_those_of_smp() -> None:
    assert set(ARCHITECTURES) - {"linear"} == set(smp.MODEL_ARCHITECTURES_MAPPING)


def test_every_public_name_is_there() -> None:
    for name in models.__all__:
        assert callable(getattr(models, name)), name
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        _ = models.biuld


@pytest.mark.parametrize("name", [*models.names(), "unet/resnet18", "deeplabv3/tu-a", "my_pkg.nets:Net"])
def test_accepts(name: str) -> None:
    models.check_name(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pspnet_resnet", "unknown model 'pspnet_resnet'; did you mean 'pspnet_resnet18'?"),
        ("zzz", "there are: deeplabv3_mobilenetv2, .*'arch/encoder'"),
        ("unett/resnet18", "unknown architecture 'unett'; did you mean 'unet'?"),
        ("unet/", "names no encoder"),
        ("nets.py:Net/18", "unknown model"),
        (":Net", "unknown model"),
    ],
)
def test_refuses(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.check_name(name)


def test_license_notes_say_what_is_not_free() -> None:
    assert "non-commercial" in models.license("segformer_b0")
    assert "non-commercial" in models.license("unet/mit_b2")
    assert models.license("unet/resnet18") == ""
