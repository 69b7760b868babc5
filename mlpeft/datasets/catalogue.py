"""The data sets that mlpeft knows: contents, licences and digests.

`omniglot.npz` may also be converted on this machine from the official archives. Such a
file has all 50 alphabets, and so another digest than the one listed here.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlpeft.datasets import digits, omniglot
from mlpeft.datasets.image_sets.sets import IMAGE_SETS
from mlpeft.errors import DataError, nearest


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a data set.

    Attributes:
        path: Its path in a data folder.
        size_bytes: Its size; 0 if it is made on this machine.
        sha256: SHA-256 of its bytes; empty if it is made on this machine.
    """

    path: str
    size_bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set.

    Attributes:
        name: Its name in commands.
        about: What it contains.
        licence: The licence of its use.
        citation: What a paper that uses it should cite.
        home: The address of its origin.
        files: Its files; none if they are part of a package.
        remedy: How to get it.
    """

    name: str
    about: str
    licence: str
    citation: str
    home: str
    files: tuple[DataFile, ...]
    remedy: str


_INTENTS = (
    "run: mlpeft data import {0} FILES, with the files that mlpeft data list --json "
    "names"
)


def _image_set(
    name: str, about: str, licence: str, citation: str, home: str
) -> DataSet:
    """A colour data set, whose file is made of what people have."""
    files = (DataFile(IMAGE_SETS[name].file),)
    remedy = IMAGE_SETS[name].remedy
    return DataSet(name, about, licence, citation, home, files, remedy)


_IMAGENET = "ImageNet's terms: research, not commerce"

CATALOGUE = {
    data_set.name: data_set
    for data_set in (
        DataSet(
            name="omniglot",
            about="handwritten characters, 28 x 28: 964 classes to train on, 505 or "
            "659 to test on, 20 drawings each",
            licence="MIT, Copyright (c) 2015 Brenden Lake",
            citation="Lake, Salakhutdinov, Tenenbaum. Human-level concept learning "
            "through probabilistic program induction. Science 350(6266), 2015",
            home="https://github.com/brendenlake/omniglot",
            files=(
                DataFile(
                    omniglot.FILE,
                    5_958_056,
                    "51367012a0f2547bdaff13fb3cd4d7919edf621a7dfa1d5ca75248249448b105",
                ),
            ),
            remedy=omniglot.REMEDY,
        ),
        DataSet(
            name=digits.NAME,
            about="handwritten digits, 8 x 8; 1,797 images of 10 classes",
            licence="CC BY 4.0 (UCI Machine Learning Repository)",
            citation="Alpaydin, Kaynak. Optical Recognition of Handwritten Digits. UCI "
            "Machine Learning Repository, 1998",
            home="https://doi.org/10.24432/C50P49",
            files=(),
            remedy=digits.REMEDY,
        ),
        _image_set(
            "mini_imagenet",
            "photos, 84 x 84: 64 classes to train on, 16 to validate, 20 to test, 600 "
            "each",
            _IMAGENET,
            "Vinyals et al. Matching Networks for One Shot Learning. NeurIPS 2016; "
            "Ravi, Larochelle. Optimization as a Model for Few-Shot Learning. ICLR "
            "2017",
            "https://github.com/twitter/meta-learning-lstm",
        ),
        _image_set(
            "tiered_imagenet",
            "photos, 84 x 84: 351 classes to train on, 97 to validate, 160 to test",
            _IMAGENET,
            "Ren et al. Meta-Learning for Semi-Supervised Few-Shot Classification. "
            "ICLR 2018",
            "https://github.com/renmengye/few-shot-ssl-public",
        ),
        _image_set(
            "cifar_fs",
            "photos, 32 x 32: 64 classes to train on, 16 to validate, 20 to test, 600 "
            "each",
            "as CIFAR-100, which names none",
            "Bertinetto, Henriques, Torr, Vedaldi. Meta-learning with differentiable "
            "closed-form solvers. ICLR 2019; Krizhevsky. Learning Multiple Layers of "
            "Features from Tiny Images. 2009",
            "https://github.com/bertinetto/r2d2",
        ),
        _image_set(
            "cub",
            "birds, 84 x 84: 100 species to train on, 50 to validate, 50 to test",
            "research and education, not commerce",
            "Wah et al. The Caltech-UCSD Birds-200-2011 Dataset. 2011; Chen et al. A "
            "Closer Look at Few-shot Classification. ICLR 2019 (splits)",
            "https://www.vision.caltech.edu/datasets/cub_200_2011/",
        ),
        DataSet(
            name="clinc150",
            about="22,500 utterances of 150 intents, and five splits by intent",
            licence="CC BY 3.0 (utterances), Apache-2.0 (splits)",
            citation="Larson et al. An Evaluation Dataset for Intent Classification "
            "and Out-of-Scope Prediction. EMNLP-IJCNLP 2019; Dopierre, Gravier, "
            "Logerais. ProtAugment. ACL 2021",
            home="https://github.com/clinc/oos-eval",
            files=(
                DataFile(
                    "intents/clinc150.jsonl.gz",
                    258_903,
                    "0c43c7e2bcd45a59e36490868b7c9b5790728239d12c5f4fb1d6fa8f29b09e75",
                ),
                DataFile(
                    "intents/clinc150_oos.jsonl.gz",
                    21_692,
                    "e543570b765bfc17346f4ef302f9691e79bb95eceba988b8d7cf203b75b55a44",
                ),
                DataFile(
                    "intents/clinc150_splits.json",
                    18_366,
                    "2cb467fb8f594eac868db431046fecfbd5d36b93cf56644025188443f1054add",
                ),
            ),
            remedy=_INTENTS.format("clinc150"),
        ),
        DataSet(
            name="banking77",
            about="13,083 utterances of 77 intents, and five splits by intent",
            licence="CC BY 4.0 (utterances), Apache-2.0 (splits)",
            citation="Casanueva et al. Efficient Intent Detection with Dual Sentence "
            "Encoders. NLP for ConvAI, ACL 2020; Dopierre, Gravier, Logerais. "
            "ProtAugment. ACL 2021",
            home="https://github.com/PolyAI-LDN/task-specific-datasets",
            files=(
                DataFile(
                    "intents/banking77.jsonl.gz",
                    215_149,
                    "33dcc79824d856c84894c2fbafc7759607e0b86641e3d114bc94f272dc5d2027",
                ),
                DataFile(
                    "intents/banking77_splits.json",
                    11_430,
                    "e375804e5dc478971762b545ebc9ff4c413afa4f1b39438bb933932a89f517a1",
                ),
            ),
            remedy=_INTENTS.format("banking77"),
        ),
    )
}


def data_set(name: str) -> DataSet:
    """The data set of this name.

    Raises:
        DataError: If there is none, with the nearest name.
    """
    if name not in CATALOGUE:
        raise DataError(f"unknown data set {name!r}; {nearest(name, CATALOGUE)}")
    return CATALOGUE[name]
