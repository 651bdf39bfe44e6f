"""Trains a cycle's detector on several GPUs; `mgral run` or `mgral cycle` then goes on from it.

    torchrun --standalone --nproc-per-node 4 -m flows.train --params params.yaml --cycle 1
"""

from __future__ import annotations

from flows.arguments import guarded, job_of, parser
from mgral.study.progress import Progress, current


def main() -> None:
    options = parser(__doc__, cycle=True).parse_args()
    job = job_of(options.params, options.workdir, options.data, options.strategy, options.cycle)
    from mgral.detection.distributed import joined
    from mgral.study.opened import device_of
    from tasks.detector import train_shared

    with joined(device_of(job.config)) as (world, device):
        if not world.first:
            current.set(Progress())  # one process speaks for all
        path = train_shared(job, job.cycle - 1, world, device)
        if world.first:
            print(f"{job.title} trained in {world.size} processes: {path}")


if __name__ == "__main__":
    guarded(main)
