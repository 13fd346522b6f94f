#!/usr/bin/env bash
# What dist_test.sh and dist_train.sh share: tools/torchrun.sh PROCESSES TOOL.py ARGUMENTS...
# On one machine torch looks for a free port itself; several machines must be told one.
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
processes=$1 tool=$2
if [[ ${NNODES:-1} == 1 ]]; then
  meeting=(--standalone)
else
  : "${MASTER_ADDR:?of the first of the NNODES machines}" "${PORT:?a port that is free there}"
  meeting=(--nnodes "$NNODES" --node_rank "${NODE_RANK:?0 to NNODES - 1}"
    --master_addr "$MASTER_ADDR" --master_port "$PORT")
fi
export PYTHONPATH="${tools%/*}${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run "${meeting[@]}" --nproc_per_node "$processes" \
  "$tools/$tool" "${@:3}" --launcher pytorch
