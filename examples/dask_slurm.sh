#!/usr/bin/env bash
# Meta-train on Slurm through Dask: one job has the scheduler, workers and the training.
#
#   sbatch examples/dask_slurm.sh configs/omniglot.yaml [OPTIONS OF mlpeft train]
#
# Submit it from a folder that all nodes see: it holds the configuration, checkpoints and
# the environment with mlpeft[dask] that is active. Data sets: `mlpeft data fetch`, or
# MLPEFT_DATA_DIR. Slurm sends SIGTERM two minutes before the time limit, which saves the
# run; the same command goes on with it. Without Slurm it runs here, with two workers.
#
#SBATCH --job-name=mlpeft
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120

set -euo pipefail
config=${1:-configs/omniglot.yaml}
shift || true
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

place=$PWD/.dask-${SLURM_JOB_ID:-$$}
mkdir "$place"
trap 'kill $(jobs -p) 2> /dev/null; wait; rm -rf "$place"' EXIT

python -m dask scheduler --port 0 --dashboard-address :0 \
  --scheduler-file "$place/scheduler.json" 2> "$place/scheduler.log" &

worker=(python -m dask worker --scheduler-file "$place/scheduler.json" --nthreads 1
  --memory-limit 0 --no-dashboard --death-timeout 120 --local-directory "$place")
if [[ -n ${SLURM_JOB_ID:-} ]]; then
  srun "${worker[@]}" 2> "$place/workers.log" & # one on each task, on all nodes
else
  "${worker[@]}" --nworkers 2 2> "$place/workers.log" &
fi

until [[ -s $place/scheduler.json ]]; do sleep 0.2; done
address=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' \
  "$place/scheduler.json")

train=(python -m mlpeft train --config "$config" --engine dask --address "$address" "$@")
name=$(basename "$config" .yaml)
if compgen -G "checkpoints/$name/steps/*" > /dev/null; then
  train+=(--resume)
fi
"${train[@]}" &
training=$!
trap 'kill -TERM $training' TERM INT
code=0
wait $training || code=$?
if kill -0 $training 2> /dev/null; then # a signal woke it, and the run is being saved
  code=0
  wait $training || code=$?
fi
exit $code
