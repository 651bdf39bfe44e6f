"""What a query strategy may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mgral.data.dataset import Boxes, ImageId
from mgral.inspection import Inspection


@dataclass(frozen=True, slots=True, eq=False)
class PoolView:
    """`pool` may be chosen from, `labelled` is annotated already.

    `inspection` is the current detector's view of at least the pool; `truth` holds true boxes, of the pool too, and is
    given to strategies that serve as an upper reference only.
    """

    pool: tuple[ImageId, ...]
    labelled: tuple[ImageId, ...]
    inspection: Inspection | None = None
    truth: Mapping[ImageId, Boxes] | None = None
