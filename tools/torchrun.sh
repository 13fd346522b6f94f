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
# torchrun with a line instead of a traceback where a process dies.
launcher=$(cat << 'END'
import logging, signal, sys
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main
logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
try:
    main(sys.argv[1:])
except SignalException as error:
    print(f'interrupted ({signal.Signals(error.sigval).name})', file=sys.stderr)
    sys.exit(128 + error.sigval)
except ChildFailedError as error:
    rank, failure = error.get_first_failure()
    code = failure.exitcode
    how = f'ended with status {code}' if code > 0 else f'was ended by {signal.Signals(-code).name}'
    how += ', is memory short?' if code == -signal.SIGKILL else ''
    print(f'error: process {rank} {how}; the others were stopped', file=sys.stderr)
    sys.exit(code if code > 0 else 1)
END
)
exec "${PYTHON:-python}" -c "$launcher" "${meeting[@]}" --nproc_per_node "$processes" \
  "$tools/$tool" "${@:3}" --launcher pytorch
