"""Checks a study's data and draws its splits: the first stage of dvc.yaml (`python -m flows.prepare`)."""

from __future__ import annotations

from flows.arguments import guarded, job_of, parser
from tasks.prepare import prepare_data


def main() -> None:
    options = parser(__doc__).parse_args()
    prepare_data(job_of(options.params, options.workdir, options.data))


if __name__ == "__main__":
    guarded(main)
