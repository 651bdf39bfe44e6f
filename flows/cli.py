"""The command line. Heavy packages are loaded by the command that needs them, so that --help is quick."""

from __future__ import annotations

import argparse

from flows.arguments import guarded
from flows.commands import (
    check,
    cycle,
    dvc,
    export,
    import_labels,
    init,
    prepare,
    pull,
    push,
    report,
    run,
    select,
    semisup,
    status,
)
from mgral import __version__


def main() -> None:
    top = argparse.ArgumentParser(prog="mgral",
                                  description="Which images to annotate next, chosen for the gain in mAP.")
    top.add_argument("--version", action="version", version=f"mgral {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for module in (init, check, run, status, export, push, pull, import_labels, select, prepare, cycle, report, semisup,
                   dvc):
        module.add(commands)
    options = top.parse_args()
    guarded(lambda: options.work(options))


if __name__ == "__main__":
    main()
