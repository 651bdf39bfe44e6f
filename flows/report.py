"""Trains the last detectors and writes the report: the last stage of dvc.yaml (`python -m flows.report`)."""

from __future__ import annotations

from flows.arguments import guarded, job_of, parser
from flows.study import run_report


def main() -> None:
    options = parser(__doc__).parse_args()
    run_report(job_of(options.params, options.workdir, options.data))


if __name__ == "__main__":
    guarded(main)
