#!/usr/bin/env bash
# Evaluate with several processes of this machine: GPUS GPUs, or as many processes on CPUs.
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# Variables: PYTHON; PY_ARGS; for several machines NNODES, NODE_RANK, MASTER_ADDR and PORT.
set -euo pipefail
usage='usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]'
[[ $# -ge 3 && $3 =~ ^[1-9][0-9]*$ ]] || { echo "$usage" >&2; exit 2; }
exec "$(dirname "${BASH_SOURCE[0]}")/torchrun.sh" "$3" test.py "$1" "$2" ${PY_ARGS:-} "${@:4}"
