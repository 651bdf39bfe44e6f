"""Trains a cycle's detector on several GPUs; `mgral run` or `mgral cycle` then goes on from it.

    torchrun --standalone --nproc-per-node 4 -m flows.train --params params.yaml --cycle 1
"""

from __future__ import annotations

import argparse

from flows.arguments import add_cycle, add_run, guarded, job_from
from mgral.progress import Progress, current


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run(parser)
    add_cycle(parser)
    job = job_from(parser.parse_args())
    from mgral.detection import joined
    from tasks.detector import train_shared
    from tasks.opened import device_of

    with joined(device_of(job.config)) as (world, device):
        if not world.first:
            current.set(Progress())  # one process speaks for all
        path = train_shared(job, job.cycle - 1, world, device)
        if world.first:
            print(f"{job.title} trained in {world.size} processes: {path}")


if __name__ == "__main__":
    guarded(main)
