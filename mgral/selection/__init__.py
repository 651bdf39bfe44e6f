"""Choosing images to annotate once, from a folder and what is known of it, without a pipeline."""

from mgral.selection.choosing import Selected, select
from mgral.selection.request import Request

__all__ = ["Request", "Selected", "select"]
