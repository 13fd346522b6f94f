"""Evaluate many configs, each cut into shards, as one array of SLURM jobs or on this machine.

python tools/sweep.py sweeps/motions.yaml
python tools/sweep.py sweeps/paper_table2.yaml --executor slurm --partition gpu --shards 8
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sta.start import add_evaluation_options, find_path, hosts_needed, tool_parser


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('sweep', nargs='?', type=find_path, metavar='SWEEP.yaml')
    parser.add_argument('--configs', nargs='+', metavar='CONFIG')
    parser.add_argument('--checkpoints', nargs='+', metavar='FILE', help='one for each config')
    add_evaluation_options(parser.add_argument_group('passed on to tools/test.py'))
    jobs = parser.add_argument_group('jobs')
    jobs.add_argument(
        '--executor', choices=('local', 'slurm'), help='default local: on this machine'
    )
    jobs.add_argument('--partition', metavar='P', help='of SLURM')
    jobs.add_argument('--shards', type=int, metavar='K', help='elements per config; default 1')
    jobs.add_argument(
        '--gpus-per-task', type=int, metavar='N', help='of an element, a process each; default 1'
    )
    jobs.add_argument(
        '--processes', type=int, metavar='N', help='of an element; default one per GPU'
    )
    jobs.add_argument('--cpus-per-task', type=int, metavar='N', help='of an element')
    jobs.add_argument('--time', help='of an attempt, as for sbatch; default 4:00:00 with SLURM')
    jobs.add_argument('--max-parallel', type=int, metavar='M', help='elements at once')
    jobs.add_argument('--name', help='default: that of the file, or of the configs')
    parser.add_argument(
        '--sweep-dir', type=Path, metavar='DIR', help='default work_dirs/sweeps/NAME'
    )
    parser.add_argument('--dry-run', action='store_true', help='print the jobs, start nothing')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_arguments(None)  # --help and mistakes are answered before the slow imports

with hosts_needed():
    from sta.engine.cli import run_command
    from sta.sweeps.plan import read_sweep
    from sta.sweeps.run import Start, check_sweep_folder, facts_of, plan
    from sta.sweeps.state import Manifest


def run(arguments: argparse.Namespace, command: str) -> int:
    typed = {
        key: value
        for key, value in vars(arguments).items()
        if key not in ('sweep', 'sweep_dir', 'dry_run')
    }
    sweep = read_sweep(arguments.sweep and Path(arguments.sweep), typed)
    folder = arguments.sweep_dir or Path('work_dirs/sweeps', sweep.name)
    check_sweep_folder(folder, sweep.resources.executor)
    manifest = Manifest(sweep.name, plan(sweep.evaluations), facts_of(command))
    start = Start(manifest, sweep.resources, folder)
    if arguments.dry_run:
        start.dry()
        return 0
    return start.run()


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    words = sys.argv[1:] if argv is None else argv
    command = 'python tools/sweep.py ' + shlex.join(words)
    return run_command(lambda: run(arguments, command))


if __name__ == '__main__':
    sys.exit(main())
