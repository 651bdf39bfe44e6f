"""mgral: which images to annotate next, chosen for the gain in mAP."""

__version__ = "0.1.0"
