"""Whether what came back is taken for what people say: what may be an oversight has to be said on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgral.annotation.changes import Changes
from mgral.annotation.returned import Returned
from mgral.errors import DataError

FAR_ABOVE = 0.4
"""By how much more of a batch may be empty, as a share, before it is asked whether anybody has looked."""
NAMED = 3
"""Images that a message names."""


@dataclass(frozen=True, slots=True)
class Accept:
    """What is meant as it looks: labels of some images only (`partial`), images without a box (`empty`), boxes as the
    detector drew them (`unchanged`)."""

    partial: bool = False
    empty: bool = False
    unchanged: bool = False


def check_returned(path: Path, returned: Returned, changes: Changes, usual: float, accept: Accept) -> None:
    """Checks what a whole batch must be; `usual` is the share of empty images among those labelled before.

    Raises:
        DataError: something is as it would be if people had not finished, or never begun.
    """
    faults = [*_absent(path, returned, accept.partial), *_empty(path, returned, usual, accept.empty)]
    if changes.untouched and not accept.unchanged:
        faults.append(f"{path}: expected boxes that somebody has looked at, got all {changes.kept} as the detector "
                      "drew them; if they are right as they are, say so: --accept-unchanged")
    if faults:
        raise DataError(*faults)


def _absent(path: Path, returned: Returned, partial: bool) -> list[str]:
    absent, count = (*returned.missing, *returned.unfinished), len(returned.boxes)
    if not absent or (partial and count):
        return []
    parts = [f"{len(returned.missing)} {'is' if len(returned.missing) == 1 else 'are'} not in it"
             ] if returned.missing else []
    parts += [f"{len(returned.unfinished)} nobody has finished"] if returned.unfinished else []
    first = f"{', '.join(absent[:NAMED])}{', …' if len(absent) > NAMED else ''}"
    advice = "take what is there: --partial" if count else "export again when some are labelled"
    return [f"{path}: expected labels of all {count + len(absent)} images of the batch, got {count}: "
            f"{' and '.join(parts)} ({first}); export the whole batch, or {advice}"]


def _empty(path: Path, returned: Returned, usual: float, accepted: bool) -> list[str]:
    share = returned.silent / max(len(returned.boxes), 1)
    if accepted or share <= usual + FAR_ABOVE:
        return []
    return [f"{path}: expected about {usual:.0%} of the images to be empty, as among those labelled before, got "
            f"{share:.0%}; if all were looked at and are empty, say so: --accept-empty; else export again when they "
            "are labelled"]
