"""Importing this module loads mmdet: named for the process that experiments are forked from."""

from mgral.detection.building import load_mmdet

load_mmdet()
