#!/usr/bin/env bash
# A SLURM of one node on this machine, for tests: munged, slurmctld, slurmd. Needs root and Debian's
# slurm-wlm and munge (apt-get install --no-install-recommends slurm-wlm munge).
#
#   tests/slurm/start_slurm.sh FOLDER      start, FOLDER keeps state, logs and pids; prints the
#                                          line that lets commands find it (export SLURM_CONF=...)
#   tests/slurm/start_slurm.sh --stop FOLDER
#
# The node has 2 CPUs, whatever the machine has. The ports are free ones.
set -euo pipefail

stop() {
  for daemon in slurmd slurmctld munged; do
    local file="$1/$daemon.pid"
    [[ -s $file ]] && kill "$(cat "$file")" 2> /dev/null || true
  done
}

if [[ ${1:-} == --stop ]]; then
  stop "${2:?the folder it was started with}"
  exit 0
fi
folder=$(realpath -m "${1:?a folder for state, logs and pids}")
for program in munged slurmctld slurmd sbatch; do
  command -v "$program" > /dev/null || { echo "$program is not installed" >&2; exit 1; }
done
[[ $(id -u) == 0 ]] || { echo 'root is needed' >&2; exit 1; }
mkdir -p "$folder"/{state,spool}

# munge: its own socket and key, so that nothing of the machine's is touched.
[[ -s $folder/munge.key ]] || dd if=/dev/urandom of="$folder/munge.key" bs=1 count=1024 2> /dev/null
mkdir -p /run/munge
chown munge: /run/munge "$folder/munge.key"
chmod 400 "$folder/munge.key"
socket=/run/munge/munge.socket.2
if ! munge -n -S "$socket" > /dev/null 2>&1; then
  touch "$folder"/munged.{log,pid,seed}
  chown munge: "$folder"/munged.{log,pid,seed}
  setpriv --reuid=munge --regid=munge --clear-groups munged --force --socket="$socket" \
    --key-file="$folder/munge.key" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" \
    --pid-file="$folder/munged.pid"
fi

read -r ctld_port d_port < <(python3 - << 'PY'
import socket
probes = [socket.socket() for _ in range(2)]
for probe in probes:
    probe.bind(('', 0))
print(*(probe.getsockname()[1] for probe in probes))
PY
)
host=$(hostname -s)
cat > "$folder/slurm.conf" << CONF
ClusterName=sta
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$ctld_port
SlurmdPort=$d_port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$folder/slurm.conf
slurmctld
slurmd -N "$host"
for _ in $(seq 60); do
  if [[ $(sinfo -h -o %T 2> /dev/null) == idle* ]]; then
    echo "export SLURM_CONF=$SLURM_CONF"
    exit 0
  fi
  sleep 0.5
done
echo "the node does not become idle, see $folder/slurmctld.log and $folder/slurmd.log" >&2
sinfo >&2 || true
exit 1
