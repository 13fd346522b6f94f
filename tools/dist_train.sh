#!/usr/bin/env bash
# Train with several processes of this machine: GPUS GPUs, or as many processes on CPUs.
#   tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Variables: PYTHON; PY_ARGS; for several machines NNODES, NODE_RANK, MASTER_ADDR and PORT.
set -euo pipefail
usage='usage: tools/dist_train.sh CONFIG GPUS [options of tools/train.py]'
[[ $# -ge 2 && $2 =~ ^[1-9][0-9]*$ ]] || { echo "$usage" >&2; exit 2; }
exec "$(dirname "${BASH_SOURCE[0]}")/torchrun.sh" "$2" train.py "$1" ${PY_ARGS:-} "${@:3}"
