"""The deployments of Dask and Ray: as far as they can be checked without a cluster."""

import re
import subprocess
from pathlib import Path

import typer
import yaml

from mlpeft.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples"
SLURM = EXAMPLES / "dask_slurm.sh"
KUBERNETES = EXAMPLES / "ray_kubernetes.yaml"


def options_of_train():
    train = typer.main.get_command(app).commands["train"]
    return {option for parameter in train.params for option in parameter.opts}


def test_the_slurm_job_is_a_script_whose_training_has_known_options():
    subprocess.run(["bash", "-n", SLURM], check=True)
    (line,) = re.findall(r"^train=\((.*)\)$", SLURM.read_text(), re.MULTILINE)
    given = set(re.findall(r"--[a-z]+", line)) | {"--resume"}
    assert given == {"--config", "--engine", "--address", "--resume"}
    assert given <= options_of_train()


def test_head_and_workers_on_kubernetes_have_one_image_and_the_training_its_options():
    job = yaml.safe_load(KUBERNETES.read_text())
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    assert all(pod["volumes"] == pods[0]["volumes"] for pod in pods)
    entrypoint = job["spec"]["entrypoint"]
    subprocess.run(["sh", "-n", "-c", entrypoint], check=True)
    given = set(re.findall(r"--[a-z]+", entrypoint))
    assert given == {"--config", "--engine", "--address", "--resume"}
    assert given <= options_of_train()
