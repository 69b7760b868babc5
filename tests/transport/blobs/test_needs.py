"""Which assets a configuration names."""

import pytest

from mlpeft.config import RunConfig
from mlpeft.datasets.hub_texts import HubTexts
from mlpeft.tasks.assets import Asset, AssetKind
from mlpeft.transport.blobs.manifest import assets_of


def needed(**sections):
    return assets_of(RunConfig.from_dict(sections))


def test_synthetic_tasks_need_nothing():
    assert needed() == ()
    assert needed(task_distribution={"task_families": ["sinusoid"]}) == ()


def test_the_digits_are_a_file_of_a_package():
    (found,) = needed(task_distribution={"task_families": ["digits"]})
    assert found.kind is AssetKind.PACKAGED
    assert found.name.startswith("sklearn/")


def test_omniglot_is_one_file_of_a_data_folder():
    found = needed(task_distribution={"task_families": ["omniglot"]})
    assert found == (Asset("omniglot.npz", AssetKind.DATA),)


@pytest.mark.parametrize("params", [{}, {"tokenizer": "models/minilm"}])
def test_intents_with_an_encoder_need_each_file_once(params):
    found = needed(
        task_distribution={
            "task_families": ["intents"],
            "task_params": {"dataset": "banking77"} | params,
        },
        model={"backbone": "encoder", "weights": "models/minilm"},
    )
    assert set(found) == {
        Asset("intents/banking77.jsonl.gz", AssetKind.DATA),
        Asset("intents/banking77_splits.json", AssetKind.DATA),
        Asset("models/minilm", AssetKind.MODEL),
    }
    assert len(found) == 3


def test_intents_of_ones_own_and_their_class_splits_go_by_their_paths():
    found = needed(
        task_distribution={
            "task_families": ["intents"],
            "task_params": {"dataset": "my.csv", "class_splits": "~/splits.json"},
        },
        model={"backbone": "encoder", "weights": "models/minilm"},
    )
    assert found == (
        Asset("my.csv", AssetKind.FILE),
        Asset("~/splits.json", AssetKind.FILE),
        Asset("models/minilm", AssetKind.MODEL),
    )


def test_a_data_set_of_the_hub_goes_by_its_name_with_what_to_ask_for():
    params = {"dataset": "hf:lab/texts", "hub_split": "train", "text_key": "utt"}
    (found,) = needed(
        task_distribution={"task_families": ["intents"], "task_params": params}
    )
    asked = HubTexts("hf:lab/texts", None, "train", ("utt", "label"))
    assert found == Asset("hf:lab/texts", AssetKind.HUB, asked)


def test_a_folder_of_images_goes_by_its_path():
    found = needed(
        task_distribution={
            "task_families": ["folder"],
            "task_params": {"path": "~/photos"},
        }
    )
    assert found == (Asset("~/photos", AssetKind.IMAGES),)


def test_completions_and_their_language_model_go_by_their_names():
    found = needed(
        task_distribution={
            "task_families": ["completions"],
            "task_params": {"path": "styles.jsonl"},
        },
        model={"backbone": "causal_lm", "weights": "package:models/tiny.gguf"},
    )
    assert found == (
        Asset("styles.jsonl", AssetKind.FILE),
        Asset("package:models/tiny.gguf", AssetKind.MODEL),
    )
