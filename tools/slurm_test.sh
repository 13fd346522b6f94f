#!/usr/bin/env bash
# Evaluate under srun, a process per GPU, on as many nodes as that takes.
#   [GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 SRUN_ARGS=... PY_ARGS=...] \
#     tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]
# A partition without GPUs: GPUS is the number of processes then, GPUS_PER_NODE of those of a node.
set -euo pipefail
usage='usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]'
[[ $# -ge 4 ]] || { echo "$usage" >&2; exit 2; }
exec "$(dirname "${BASH_SOURCE[0]}")/srun.sh" "$1" "$2" test.py "$3" "$4" ${PY_ARGS:-} "${@:5}"
