"""Predictions of any detector, as other programs write them: COCO results, YOLO text files, Label Studio's JSON."""

from mgral.pool.predictions.reading import Predictions, read_predictions

__all__ = ["Predictions", "read_predictions"]
