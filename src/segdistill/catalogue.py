"""What there is to know about each loss before importing it: one card per public loss, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from segdistill.errors import unknown


@dataclass(frozen=True, kw_only=True)
class LossCard:
    """One loss of :mod:`segdistill.losses`.

    Attributes:
        name: Function, and file, in ``segdistill.losses``.
        module: Class in ``segdistill.losses``.
        module_only: It has parameters or a memory, and so no function.
        idea: What it does, in a line.
        equation: Plain text; S and T are student and teacher, softmax_c runs over classes, softmax_hw over
            positions.
        paper: Short citation.
        url: Where to read it.
        needs: What it compares: "logits", "features" or both.
        labels: Whether it needs labels; "optional" ones only leave out void pixels.
        any_channels: Student and teacher may have different numbers of channels.
        teacher: False for a loss of student and labels alone.
        on: The feature it is applied to by default.
        hyperparameters: Name to default, as the signature has them, None where it has none; ``ignore_index`` and
            ``generator`` aside.
        weight: Default weight of its term.
        weight_source: Where that comes from.
        cost: How time and extra memory grow, with N images of h x w positions, d channels and C classes.
        costly: Why it costs more than a tenth of a training step, or 500 MB, at the papers' sizes; mostly empty.
        evidence: What its value is tested against.
    """

    name: str
    module: str
    module_only: bool = False
    idea: str
    equation: str
    paper: str
    url: str
    needs: tuple[Literal["logits", "features"], ...]
    labels: Literal["required", "optional"] = "optional"
    any_channels: bool = False
    teacher: bool = True
    on: str | tuple[str, ...]
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    weight: float
    weight_source: str
    cost: str
    costly: str = ""
    evidence: str


CARDS: tuple[LossCard, ...] = (
    LossCard(
        name="cross_entropy",
        module="CrossEntropy",
        idea="the task loss: predict the labels",
        equation="mean_i -log softmax_c(z_i)[y_i], plus aux_weight times the same of the auxiliary head",
        paper="CIRKD (Yang et al., CVPR 2022), supervised part",
        url="https://arxiv.org/abs/2204.06986",
        needs=("logits",),
        labels="required",
        any_channels=True,
        teacher=False,
        on="logits",
        hyperparameters={"aux_weight": 0.4},
        weight=1.0,
        weight_source="all three papers",
        cost="time and memory N C H W, at the labels' resolution",
        evidence="golden numbers (CIRKD code)",
    ),
    LossCard(
        name="kd",
        module="KD",
        idea="match the class distribution at every pixel",
        equation="T^2 mean_i KL(softmax_c(z_T,i / T) || softmax_c(z_S,i / T))",
        paper="Hinton et al., 2015",
        url="https://arxiv.org/abs/1503.02531",
        needs=("logits",),
        on="logits",
        hyperparameters={"temperature": 1.0},
        weight=1.0,
        weight_source="CIRKD and GSKD code",
        cost="time and memory N C h w",
        evidence="golden numbers (CIRKD, RepDistiller and AICSD code)",
    ),
    LossCard(
        name="cwd",
        module="CWD",
        idea="match where in the image each channel is active",
        equation="T^2 mean_(n,c) KL(softmax_hw(x_T / T) || softmax_hw(x_S / T))",
        paper="CWD (Shu et al., ICCV 2021)",
        url="https://arxiv.org/abs/2011.13256",
        needs=("logits", "features"),
        on="logits",
        hyperparameters={"temperature": 4.0},
        weight=3.0,
        weight_source="CIRKD code, on logits; its 50 on features is 50 d_T / d_S here",
        cost="time and memory N C h w",
        evidence="golden numbers (CIRKD and CSKD code)",
    ),
    LossCard(
        name="dist",
        module="DIST",
        idea="correlate with the teacher between classes and within each class",
        equation="T^2 (inter (1 - mean_i corr_c(p_S,i , p_T,i)) + intra (1 - mean_c corr_i(p_S,c , p_T,c)))",
        paper="DIST (Huang et al., NeurIPS 2022)",
        url="https://arxiv.org/abs/2205.10536",
        needs=("logits",),
        on="logits",
        hyperparameters={"inter": 1.0, "intra": 1.0, "temperature": 1.0},
        weight=1.0,
        weight_source="DIST code, segmentation",
        cost="time and memory N C h w",
        evidence="golden numbers (DIST code, segmentation and classification)",
    ),
    LossCard(
        name="skd_pairwise",
        module="SKDPairwise",
        idea="match the cosine similarity of every two positions",
        equation="mean_(i,j) (cos(f_S,i , f_S,j) - cos(f_T,i , f_T,j))^2, after max pooling",
        paper="SKD (Liu et al., CVPR 2019)",
        url="https://arxiv.org/abs/1903.04197",
        needs=("features",),
        any_channels=True,
        on="head",
        hyperparameters={"pool": 2},
        weight=10.0,
        weight_source="CIRKD code",
        cost="time N n d^2, memory N (n d + d^2) for n pooled positions; N n^2 d and N n^2 for few",
        evidence="golden numbers (CIRKD code); AICSD's by value only: its gradient holds the norms constant",
    ),
    LossCard(
        name="gskd",
        module="GSKD",
        idea="match shuffled groups of similarities between positions sampled evenly from the classes",
        equation="mean_g KL(softmax(D_T,g / T) || softmax(D_S,g / T)), D_g = columns of the shuffled M M^T",
        paper="GSKD (Park et al., IEEE Access 2025)",
        url="https://doi.org/10.1109/ACCESS.2025.3575066",
        needs=("features",),
        labels="required",
        any_channels=True,
        on="head",
        hyperparameters={
            "samples": 16,
            "stride": 8,
            "temperature": 1.0,
            "sampling": "class_balanced",
            "group": True,
            "shuffle": True,
        },
        weight=10.0,
        weight_source="GSKD paper; 2 beside CWD, 5 beside SKD, CIRKD (samples=8 stride=classes)",
        cost="time N (B^2 (d + log B) + h w log h w), memory N B^2, for B = samples * classes in the image",
        evidence="golden numbers (equation of the paper), Algorithm 1 taken literally",
    ),
    LossCard(
        name="icsd",
        module="ICSD",
        idea="match how the classes' distributions over the image differ from one another",
        equation="mean_(n,i,j) (KL(G_T,i || G_T,j) - KL(G_S,i || G_S,j))^2, G_i = softmax_hw(z_i)",
        paper="AICSD (Mansourian et al., 2023)",
        url="https://arxiv.org/abs/2308.04243",
        needs=("logits",),
        on="logits",
        hyperparameters={"form": "paper"},
        weight=1.0,
        weight_source="none published for this form; the paper's 9500 belongs to form=released",
        cost="time N C^2 h w, memory N (C h w + C^2)",
        evidence="golden numbers (AICSD code for form=released, equation of the paper otherwise)",
    ),
    LossCard(
        name="i2ckd",
        module="I2CKD",
        idea="draw class prototypes to the teacher's of the class, away from those of other classes",
        equation="mean_(c, j != c) max(0, margin + |p_S,c - p_T,c| - |p_S,c - p_T,j|)",
        paper="I2CKD (Karine et al., 2024)",
        url="https://arxiv.org/abs/2403.18490",
        needs=("features",),
        labels="required",
        on="head",
        hyperparameters={"margin": 1.0, "num_classes": None},
        weight=0.6,
        weight_source="I2CKD paper, beside 3 cwd at temperature 2",
        cost="time N h w d C, memory N h w C + C^2",
        evidence="golden numbers and Eq. 1-3 taken literally",
    ),
    LossCard(
        name="sp",
        module="SP",
        idea="match how similar every two images of the batch are",
        equation="mean_(i,j) (G_S,ij - G_T,ij)^2, G = rows of F F^T over the flattened images, each row L2-normalised",
        paper="SP (Tung and Mori, ICCV 2019)",
        url="https://arxiv.org/abs/1907.09682",
        needs=("features",),
        any_channels=True,
        on="head",
        weight=3000.0,
        weight_source="RepDistiller code; needs larger batches than segmentation usually has",
        cost="time N^2 d h w, memory N d h w + N^2",
        evidence="golden numbers (RepDistiller code)",
    ),
    LossCard(
        name="nst",
        module="NST",
        idea="match the distribution of the channels' activation patterns",
        equation="mean k(f_S , f_S') + mean k(f_T , f_T') - 2 mean k(f_S , f_T'), k(a , b) = (a b)^2, |f| = 1",
        paper="NST (Huang and Wang, 2017)",
        url="https://arxiv.org/abs/1707.01219",
        needs=("features",),
        any_channels=True,
        on="head",
        weight=50.0,
        weight_source="RepDistiller code, summed over several stages",
        cost="time N d^2 h w, memory N (d h w + d^2); N d (h w)^2 and N (h w)^2 for few positions",
        evidence="golden numbers (RepDistiller code), pairs of channels one by one",
    ),
    LossCard(
        name="fsp",
        module="FSP",
        idea="match how the channels of one layer relate to those of the next",
        equation="mean (G_S - G_T)^2, G = F_1 F_2^T / (h w)",
        paper="FSP (Yim et al., CVPR 2017)",
        url="https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html",
        needs=("features",),
        on=("stage3", "stage4"),
        weight=50.0,
        weight_source="RepDistiller code, in a first phase of its own; needs a list of at least two features",
        cost="time N d d' h w, memory N (d h w + d d')",
        evidence="golden numbers (RepDistiller code)",
    ),
    LossCard(
        name="rkd",
        module="RKD",
        idea="match the distances and angles between the images of a batch",
        equation="distance mean_(i,j) huber(d_S,ij , d_T,ij) + angle mean_(i,j,k) huber(cos_S,ijk , cos_T,ijk)",
        paper="RKD (Park et al., CVPR 2019)",
        url="https://arxiv.org/abs/1904.05068",
        needs=("features",),
        any_channels=True,
        on="head",
        hyperparameters={"distance": 25.0, "angle": 50.0},
        weight=1.0,
        weight_source="RepDistiller code; its 25 and 50 are hyper-parameters here",
        cost="time and memory N d h w + N^3",
        evidence="golden numbers (RepDistiller code)",
    ),
    LossCard(
        name="ickd",
        module="ICKD",
        idea="match how the channels correlate with one another",
        equation="mean_(n,c) |G_S,c - G_T,c|^2, G = rows of F F^T over positions, each row L2-normalised",
        paper="ICKD (Liu et al., ICCV 2021)",
        url="https://arxiv.org/abs/2202.03680",
        needs=("features", "logits"),
        on="head",
        weight=2.5,
        weight_source="ICKD code on CIFAR; its factors for ImageNet belong to a value divided by N once more",
        cost="time N d^2 h w, memory N (d h w + d^2)",
        evidence="golden numbers (ICKD code for CIFAR and ImageNet, AICSD code on logits)",
    ),
    LossCard(
        name="channel_distillation",
        module="ChannelDistillation",
        idea="match the mean activation of every channel",
        equation="mean_(n,c) (w_S - w_T)^2, w = mean over positions",
        paper="Channel distillation (Zhou et al., 2020)",
        url="https://arxiv.org/abs/2006.01683",
        needs=("features",),
        on="stage4",
        weight=6.0,
        weight_source="released code, summed over four stages and decaying",
        cost="time and memory N d h w",
        evidence="golden numbers (released code)",
    ),
    LossCard(
        name="md",
        module="MD",
        idea="match the class probabilities and how much they change from pixel to pixel",
        equation="mean_i zero |p_S,i - p_T,i|^2 + first (c_S,i - c_T,i)^2, c_i = sum over 8 neighbours |p_i - p_j|",
        paper="MD (Xie et al., 2018), as told by AICSD (Table I, section II) and I2CKD only",
        url="https://arxiv.org/abs/1810.08476",
        needs=("logits",),
        on="logits",
        hyperparameters={"zero": 1.0, "first": 1.0},
        weight=1.0,
        weight_source="none published that was at hand",
        cost="time and memory 4 N C h w",
        evidence="the formula as those tables and texts give it, pixel by pixel; no equation of the paper, no code",
    ),
    LossCard(
        name="csc",
        module="CSC",
        idea="match, channel by channel, how every two positions act together",
        equation="mean_(n,c,i,j) (f_S,ci f_S,cj - f_T,ci f_T,cj)^2",
        paper="CSC (Park and Heo, Sensors 2020), as told by AICSD (Table I, section II) only",
        url="https://doi.org/10.3390/s20164616",
        needs=("features",),
        on="head",
        weight=1.0,
        weight_source="none published that was at hand",
        cost="time and memory N d h w",
        evidence="the formula as that table gives it, with its matrices; no equation of the paper, no code",
    ),
    LossCard(
        name="at",
        module="AT",
        idea="match where in the image the features are strong",
        equation="mean_i (q_S,i - q_T,i)^2, q = mean_c |f|^p with unit length over the image",
        paper="AT (Zagoruyko and Komodakis, ICLR 2017)",
        url="https://arxiv.org/abs/1612.03928",
        needs=("features",),
        any_channels=True,
        on="head",
        hyperparameters={"p": 2},
        weight=10000.0,
        weight_source="CIRKD code",
        cost="time and memory N d h w",
        evidence="golden numbers (CIRKD and RepDistiller code)",
    ),
    LossCard(
        name="fitnet",
        module="FitNet",
        idea="match the features themselves",
        equation="mean_(i,c) (f_S,i,c - f_T,i,c)^2",
        paper="FitNets (Romero et al., ICLR 2015)",
        url="https://arxiv.org/abs/1412.6550",
        needs=("features",),
        on="head",
        weight=10.0,
        weight_source="CIRKD code",
        cost="time and memory N d h w",
        evidence="golden numbers (CIRKD code)",
    ),
    LossCard(
        name="ifvd",
        module="IFVD",
        idea="match how far every position lies from the centre of its class",
        equation="mean_i (cos(f_S,i , m_S,y_i) - cos(f_T,i , m_T,y_i))^2, m_c = centre of class c in the image",
        paper="IFVD (Wang et al., ECCV 2020)",
        url="https://www.ecva.net/papers/eccv_2020/papers_ECCV/html/230_ECCV_2020_paper.php",
        needs=("features",),
        labels="required",
        any_channels=True,
        on="head",
        hyperparameters={"num_classes": None},
        weight=20.0,
        weight_source="CIRKD code",
        cost="time N h w d C, memory N h w (d + C)",
        evidence="golden numbers (CIRKD code) and the equation taken literally",
    ),
    LossCard(
        name="dsd_pixel",
        module="DSDPixel",
        idea="match how attention changes between layers; takes two features or more",
        equation="mean_(m<n,i) (r_S,mn,i - r_T,mn,i)^2, r_mn = q_n - q_m, q = mean_c f^2, all with unit length",
        paper="DSD (Feng et al., TIP 2021)",
        url="https://arxiv.org/abs/2107.08591",
        needs=("features", "logits"),
        any_channels=True,
        on=("aux", "head", "logits"),
        weight=1000.0,
        weight_source="CIRKD code, on aux, head and logits beside 10 dsd_category and no kd",
        cost="time and memory N h w (d + pairs)",
        evidence="golden numbers (CIRKD code)",
    ),
    LossCard(
        name="dsd_category",
        module="DSDCategory",
        idea="match how much every two classes share their places in the image",
        equation="mean_(n,c,k) ((P_S P_S^T)_ck - (P_T P_T^T)_ck)^2, P = softmax_hw(z / T) after average pooling",
        paper="DSD (Feng et al., TIP 2021)",
        url="https://arxiv.org/abs/2107.08591",
        needs=("logits",),
        on="logits",
        hyperparameters={"temperature": 4.0, "pool": 2},
        weight=10.0,
        weight_source="CIRKD code, beside 1000 dsd_pixel and no kd",
        cost="time N C^2 h w, memory N (C h w + C^2)",
        evidence="golden numbers (CIRKD code)",
    ),
    LossCard(
        name="cirkd_minibatch",
        module="CIRKDMiniBatch",
        idea="match the similarity of every position to those of every image of the batch",
        equation="mean_(i,j,r) KL(softmax(A_T,ijr / T) || softmax(A_S,ijr / T)), A_ij = cosines of images i and j",
        paper="CIRKD (Yang et al., CVPR 2022)",
        url="https://arxiv.org/abs/2204.06986",
        needs=("features",),
        any_channels=True,
        on="head",
        hyperparameters={"temperature": 0.1, "pool": None},
        weight=1.0,
        weight_source="CIRKD code, beside 1 kd and 0.1 cirkd_memory",
        cost="time N^2 (h w)^2 d, twice for the student; memory N h w d and a fixed block",
        evidence="golden numbers (CIRKD code) and the equation taken literally",
    ),
    LossCard(
        name="cirkd_memory",
        module="CIRKDMemory",
        module_only=True,
        idea="match the similarity of every position to the teacher's pixels and regions of past batches",
        equation="mean_i KL(softmax(V f_T,i / T) || softmax(V f_S,i / T)), V = queue of pixels; plus that of regions",
        paper="CIRKD (Yang et al., CVPR 2022)",
        url="https://arxiv.org/abs/2204.06986",
        needs=("features",),
        labels="required",
        on="head",
        hyperparameters={
            "num_classes": None,
            "channels": None,
            "student_channels": None,
            "pixel_size": 20000,
            "region_size": 2000,
            "pixel_contrast": 4096,
            "region_contrast": 1024,
            "temperature": 0.1,
        },
        weight=0.1,
        weight_source="CIRKD code, both terms, beside 1 kd and 1 cirkd_minibatch; 0.01 on VOC",
        cost="time N h w V d for V entries drawn, twice for the student; memory N h w d, the queues and a fixed block",
        evidence="golden numbers (CIRKD code)",
    ),
    LossCard(
        name="skd_holistic",
        module="SKDHolistic",
        module_only=True,
        idea="deceive a discriminator that tells the student's class scores from the teacher's",
        equation="-mean D(z_S), while D minimises mean max(0, 1 - D(z_T)) + mean max(0, 1 + D(z_S))",
        paper="SKD (Liu et al., CVPR 2019)",
        url="https://arxiv.org/abs/1903.04197",
        needs=("logits",),
        on="logits",
        hyperparameters={"num_classes": None},
        weight=0.001,
        weight_source="CIRKD code, beside 1 kd and 10 skd_pairwise, and beside its other methods too",
        cost="time 3 passes of a network of 3.2M parameters over the logits, memory N h w of its activations",
        evidence="its layers written out and the parameter count; the released code's numbers are random",
    ),
    LossCard(
        name="af_dcd",
        module="AfDCD",
        module_only=True,
        idea="rebuild the teacher's features from a part of the student's, and contrast channels within patches",
        equation="fd_weight |y - t|^2 / N + contrast_weight mean_i sum_g -log softmax(-|y_ig - t_jh|_1 / T)[j=i, h=g]",
        paper="Af-DCD (Fan et al., NeurIPS 2023)",
        url="https://arxiv.org/abs/2312.04168",
        needs=("features",),
        any_channels=True,
        on="stage4",
        hyperparameters={
            "student_channels": None,
            "teacher_channels": None,
            "groups": 16,
            "pool": 4,
            "patch": 4,
            "mask_ratio": 0.75,
            "temperature": 0.07,
            "fd_weight": 2e-6,
            "contrast_weight": 5e-3,
        },
        weight=1.0,
        weight_source="the two weights are hyper-parameters here, those of the Af-DCD code for Cityscapes, beside 1 kd",
        cost="time N h w d (18 d + groups patch^2 / pool^2), memory N h w d and a fixed block; 18 d^2 parameters",
        evidence="golden numbers (Af-DCD code)",
    ),
    LossCard(
        name="diffkd",
        module="DiffKD",
        module_only=True,
        idea="take the noise out of the student's features with a diffusion model of the teacher's, then match these",
        equation="mean_(i,c) (P(D(g F + (1 - g) noise))_i,c - Z_T,i,c)^2, D = denoising, F and Z_T latent features",
        paper="DiffKD (Huang et al., NeurIPS 2023)",
        url="https://arxiv.org/abs/2305.15712",
        needs=("features",),
        any_channels=True,
        on="stage4",
        hyperparameters={"student_channels": None, "teacher_channels": None, "latent_channels": None, "steps": 5},
        weight=1.0,
        weight_source="released code, for image classification",
        cost="time N h w d^2 steps, memory N h w d steps; about 5.5 d^2 + 1000 d parameters, for d latent channels",
        evidence="golden numbers (released code) for the denoising steps; the rest written out again",
    ),
)

BY_NAME: dict[str, LossCard] = {card.name: card for card in CARDS}


def card_of(name: str) -> LossCard:
    """Return the card of a loss.

    Raises:
        UserError: No loss has that name; the nearest is offered.
    """
    if name not in BY_NAME:
        raise unknown("loss", name, BY_NAME, hint="(segdistill losses lists them)")
    return BY_NAME[name]
