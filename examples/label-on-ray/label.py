#!/usr/bin/env python3
"""Spreads `attar-train label` over the workers of a Ray cluster.

    label.py --workers 2 -- attar-train label --teacher FOLDER --kind classifier --data FILE -o FOLDER

Everything after `--` is the command that one machine alone would run; every task adds `--worker I/N`. The output folder
lies where every node and this program can see it. A task that Ray starts again (a lost node) does again only what is
missing: a shard is written under a temporary name and renamed, and its bytes do not depend on who computes it.
"""
import argparse
import subprocess
import sys

import ray


@ray.remote(max_retries=3)
def label(command, worker, workers):
    """Computes one worker's shards; returns nothing, the shards are in the folder."""
    done = subprocess.run(command + ["--quiet", "--worker", f"{worker}/{workers}"], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"worker {worker} of {workers}: {done.stderr.strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, required=True, help="number of tasks")
    parser.add_argument("--cpus", type=float, default=1, help="CPUs that Ray keeps for a task")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs that Ray keeps for a task")
    parser.add_argument("--address", help="of a running cluster; without, Ray starts on this machine")
    parser.add_argument("command", nargs="+", help="attar-train label ...")
    arguments = parser.parse_args()

    ray.init(address=arguments.address, log_to_driver=False, include_dashboard=False)
    task = label.options(num_cpus=arguments.cpus, num_gpus=arguments.gpus)
    left = {task.remote(arguments.command, i, arguments.workers): i for i in range(arguments.workers)}
    while left:
        [finished], _ = ray.wait(list(left), num_returns=1)
        ray.get(finished)
        print(f"worker {left.pop(finished)} of {arguments.workers}: done", flush=True)
    ray.shutdown()
    # Nothing is left to compute: this checks that every shard is there, whole, and of this teacher and these rows.
    sys.exit(subprocess.run(arguments.command).returncode)


if __name__ == "__main__":
    main()
