"""`mgral select`: which images of a folder to annotate next, without a pipeline."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

EXAMPLES = """examples:
  mgral select photos/ --budget 100 --predictions results.json --annotations instances.json --to label-studio
  mgral select photos/ --budget 100 --predictions runs/detect/predict/labels --labelled labelled.json
  mgral select photos/ --budget 100 --checkpoint epoch_12.pth --config my_config.py
  mgral select photos/ --budget 100            (nothing known: images that differ)

An mmdet config (--config) and a strategy's file are Python, and are run.
"""


def add(commands) -> None:
    from argparse import RawDescriptionHelpFormatter

    what = "choose images of a folder to annotate, by a detector's checkpoint or any detector's predictions"
    made: ArgumentParser = commands.add_parser("select", help=what, description=what[0].upper() + what[1:] + ".",
                                               epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter)
    made.set_defaults(work=_select)
    made.add_argument("images", type=Path, metavar="IMAGES", help="folder of images, sub-folders included")
    made.add_argument("--budget", type=int, default=100, metavar="N", help="how many to choose (default: 100)")
    known = made.add_argument_group("what is known of the images")
    known.add_argument("--checkpoint", type=Path, metavar="FILE", help="a trained detector")
    known.add_argument("--config", metavar="FILE", help="its mmdet config; not needed where the checkpoint holds "
                       "its config as text, or is mgral's own")
    known.add_argument("--classes", metavar="A,B,C", help="its classes in order, where the checkpoint does not name "
                       "them")
    known.add_argument("--predictions", type=Path, metavar="PATH", help="what any detector found: COCO results or "
                       "Label Studio JSON, or a folder of YOLO text files with confidence")
    known.add_argument("--annotations", type=Path, metavar="FILE", help="the COCO file whose image and category ids "
                       "the predictions use; data.yaml or classes.txt for YOLO")
    known.add_argument("--embeddings", type=Path, metavar="FILE.npy", help="embeddings of all images, in the order of "
                       "their sorted names or as a .txt beside names them (default: the detector's, or how they "
                       "look and what an ImageNet network sees)")
    known.add_argument("--labelled", type=Path, metavar="FILE", help="COCO file of the images that are labelled")
    known.add_argument("--unboxed", choices=("labelled", "pool"), help="what images without a box in that file are: "
                       "looked at and empty, or not looked at")
    made.add_argument("--strategy", metavar="NAME", help="a strategy's name or file (default: content where enough is "
                      "labelled, else balanced_entropy, or coreset where no detector is known)")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="settles what is left to chance (default: 0)")
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the detector runs")
    made.add_argument("--to", choices=("label-studio", "cvat", "cvat-coco", "coco", "voc", "yolo"),
                      help="also write the batch with the detector's boxes for annotators")
    made.add_argument("--out", type=Path, default=Path("batch"), metavar="DIR",
                      help="where to write (default: ./batch); another batch is never written over")


def _select(options: Namespace) -> None:
    from mgral.report.batch import DATA, in_words, write_batch
    from mgral.report.folders import check_folder
    from mgral.selection import Request, select

    check_folder(options.out, DATA)
    names = ("images", "budget", "checkpoint", "config", "predictions", "annotations", "embeddings", "labelled",
             "unboxed", "strategy", "seed", "device")
    classes = None if options.classes is None else tuple(name.strip() for name in options.classes.split(","))
    request = Request(**{name: getattr(options, name) for name in names}, classes=classes, without=options.out)
    try:
        selected = select(request)
    except KeyboardInterrupt:
        print("mgral: interrupted; nothing was written", file=sys.stderr)
        sys.exit(130)
    print("\n".join(in_words(selected, write_batch(options.out, selected, options.to), options.to)))
