#!/usr/bin/env bash
# Train under srun, a process per GPU, on as many nodes as that takes.
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=... PY_ARGS=...] \
#     tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]
# A partition without GPUs: GPUS is the number of processes then, GPUS_PER_NODE of those of a node.
set -euo pipefail
usage='usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]'
[[ $# -ge 3 ]] || { echo "$usage" >&2; exit 2; }
exec "$(dirname "${BASH_SOURCE[0]}")/srun.sh" "$1" "$2" train.py "$3" ${PY_ARGS:-} "${@:4}"
