#!/usr/bin/env bash
# What slurm_test.sh and slurm_train.sh share: tools/srun.sh PARTITION JOB_NAME TOOL.py ARGUMENTS...
# The tasks agree on a free port themselves (sta/engine/launch.py).
set -euo pipefail
command -v srun > /dev/null || { echo 'error: srun not found: is this a SLURM machine?' >&2; exit 2; }
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
partition=$1 job_name=$2 tool=$3
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
for number in "$gpus" "$per_node"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || { echo "error: GPUS and GPUS_PER_NODE are numbers from 1 on, got $number" >&2; exit 2; }
done
(( per_node > gpus )) && per_node=$gpus
# Nodes without GPUs refuse jobs that ask for any.
resources=()
[[ $(sinfo -h -p "$partition" -o %G) == *gpu* ]] && resources=(--gres="gpu:$per_node")
export PYTHONPATH="${tools%/*}${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck disable=SC2086  # SRUN_ARGS are words
exec srun -p "$partition" --job-name="$job_name" "${resources[@]}" --ntasks="$gpus" \
  --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
  ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$tools/$tool" "${@:4}" --launcher slurm
