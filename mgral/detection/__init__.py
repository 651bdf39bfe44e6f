"""Object detectors: building, training, inspecting and evaluating them. The only package that imports mmdet.

What stands here is all that the rest of the project imports from it.
"""

from mgral.detection.anchors import BACKGROUND, AnchorHead
from mgral.detection.building import build_detector, check_detector, load_checkpoint, save_checkpoint
from mgral.detection.detector import Detector, Maps
from mgral.detection.distributed import ALONE, World, joined
from mgral.detection.evaluation import Evaluation, evaluate, soft_ap
from mgral.detection.foreign import image_size_of, load_foreign
from mgral.detection.heads import Dense, Features, Found, Losses, ProposalHead
from mgral.detection.imagenet import pretrained_missing
from mgral.detection.inspecting import BATCH, batches, detect, evaluating, inspect, originals, parts
from mgral.detection.kept import looked_at, most_kept, views_of
from mgral.detection.pretrained import pretrained_embedding
from mgral.detection.proposals import Stages
from mgral.detection.targets import Target, moved
from mgral.detection.tensors import read_tensors

__all__ = [
    "ALONE", "BACKGROUND", "BATCH", "AnchorHead", "Dense", "Detector", "Evaluation", "Features", "Found", "Losses",
    "Maps", "ProposalHead", "Stages", "Target", "World", "batches", "build_detector", "check_detector", "detect",
    "evaluate", "evaluating", "image_size_of", "inspect", "joined", "load_checkpoint", "load_foreign", "looked_at",
    "most_kept", "moved", "originals", "parts", "pretrained_embedding", "pretrained_missing", "read_tensors",
    "save_checkpoint", "soft_ap", "views_of",
]
