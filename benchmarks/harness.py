"""What every benchmark begins and ends with: its options, its clock, the machine, and the line that it prints."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")


def benchmark_parser(doc: str) -> argparse.ArgumentParser:
    """With the option that all benchmarks have."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--json", action="store_true", help="print the JSON line only")
    return made


def study_parser(doc: str, params: str = "params.yaml", out: bool = True) -> argparse.ArgumentParser:
    """For studies of whole cycles, which need settings, images and a folder that an interrupted run goes on from."""
    made = benchmark_parser(doc)
    made.add_argument("--params", type=Path, default=Path(params))
    made.add_argument("--data", type=Path, help="the data set's folder; none for synthetic scenes")
    made.add_argument("--out", type=Path, required=out)
    return made


def print_line(name: str, ratio: float, goal: float | None, raw: Any) -> None:
    """The last line of every benchmark."""
    print(json.dumps({"name": name, "ratio": ratio, "goal": goal, "raw": raw}))


def quiet() -> None:
    """mmengine reports much, and what its libraries deprecate is not what is measured."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def timed(work: Callable[[], Found]) -> tuple[Found, float]:
    """What it gives, and its seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def hardware() -> dict[str, Any]:
    return {"processor": processor(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}


def processor() -> str:
    """Its name as the system gives it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
