"""The deployments of Dask and Ray: as far as they can be checked without a cluster."""

import re
import subprocess
from pathlib import Path

import pytest
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


def test_scheduler_and_worker_of_the_slurm_job_have_options_of_dask():
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    from distributed.cli import dask_scheduler, dask_worker

    text = SLURM.read_text().replace("\\\n", "")
    (scheduler,) = re.findall(r"dask scheduler (.*?) 2>", text)
    (worker,) = re.findall(r"worker=\(.* dask worker (.*?)\)", text, re.DOTALL)
    worker += "".join(re.findall(r"worker\[@\]\}\" (.*?) 2>", text))
    for line, command in ((scheduler, dask_scheduler.main), (worker, dask_worker.main)):
        known = {option for each in command.params for option in each.opts}
        given = set(re.findall(r"--[a-z-]+", line))
        known |= {option for each in command.params for option in each.secondary_opts}
        assert len(given) > 2
        assert given <= known


def test_what_slurm_is_asked_for_comes_before_the_first_command():
    """Slurm reads no directives after it; TERM is what the training saves at."""
    lines = SLURM.read_text().splitlines()
    directives = [n for n, line in enumerate(lines) if line.startswith("#SBATCH ")]
    commands = [n for n, line in enumerate(lines) if line and line[0] != "#"]
    assert max(directives) < min(commands)
    assert "#SBATCH --signal=B:TERM@120" in lines
    assert (EXAMPLES.parent / "configs" / "omniglot.yaml").is_file()


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
