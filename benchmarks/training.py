"""Training throughput against mmdet's own `Runner`: the tiny preset, batches of 8 at 128 px.

    python benchmarks/training.py [--data DIR] [--images 200] [--steps 60] [--repeats 3] [--threads 1 2] [--json]

Same files, initial weights, optimiser and course of the learning rate, augmentation of the same strength; BCCD where
`--data` names its folder, else synthetic scenes. mmdet reads as its users have it read: the files again in every epoch,
two persistent workers. We have decoded them once before (`decoding_s`, not in the ratio: a study does it once and
trains after every cycle). Each side takes the number of torch threads that suits it; the first `WARM_UP` steps do not
count.

Compared first: the losses of one batch without augmentation, before any update. On the same pixels they agree within
0.0001 of their size (the order of sums); read from files within a hundredth, for Pillow averages where OpenCV picks.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import hardware, print_line, timed
from mmdet_reference import IMAGE_SIZE, image_options, images, mmdet_config, register_mmdet, save_for_mmdet

from mgral.annotation.coco import document
from mgral.config import TrainingConfig
from mgral.data.dataset import Dataset
from mgral.data.images import ImageStore
from mgral.detection import Detector, build_detector
from mgral.detection.heads import metas, samples
from mgral.files import write_json
from mgral.training.inputs import targets_of, total
from mgral.training.optimiser import CLIP_NORM, WEIGHT_DECAY
from mgral.training.supervised import supervised_training

GOAL = 2
BATCH = 8
WARM_UP = 10
SAME_PIXELS, FROM_FILES = 1e-4, 1e-2


def main() -> None:
    options = image_options(__doc__, images=200, steps=60, repeats=3)
    with tempfile.TemporaryDirectory() as folder:
        raw, ratio = measured(options, Path(folder))
    if not options.json:
        for name, speeds in raw["images_s"].items():
            print(f"{name:8}", *(f"{speed:7.1f} images/s with {threads} threads" for threads, speed in speeds.items()))
        print(f"ratio {ratio} (goal {GOAL}); losses apart by {raw['loss_difference_same_pixels']:.1e} on the same "
              f"pixels, {raw['loss_difference_from_files']:.1%} from files")
    print_line("training", ratio, GOAL, raw)


def measured(options: argparse.Namespace, folder: Path) -> tuple[dict, float]:
    config, dataset = images(options.data, options.images, folder)
    # mmdet leaves out images without objects; so that both see the same, neither has them.
    ids = sorted(image_id for image_id, boxes in dataset.boxes.items() if (~boxes.ignore).any())
    store, decoding = timed(lambda: ImageStore.open(dataset, IMAGE_SIZE, folder / "cache"))
    settings = config.training.model_copy(update={"steps": options.steps, "batch_size": BATCH})
    start = build_detector(config.detector, dataset.classes, 0)
    register_mmdet()
    theirs = mmdet_settings(start, dataset, ids, settings, folder)
    same, from_files = compared(start, theirs, store, dataset, ids)

    def seconds(name: str, threads: int) -> float:
        """A step's median."""
        torch.set_num_threads(threads)
        if name == "mmdet":
            return float(np.median(np.diff(run_mmdet(theirs)[WARM_UP:])))
        training = supervised_training(copy.deepcopy(start), store, dataset.boxes, ids, settings, 0)
        times = [time.perf_counter() for _ in training]
        return float(np.median(np.diff(times[WARM_UP:])))

    found = {name: {threads: [] for threads in options.threads} for name in ("ours", "mmdet")}
    for _ in range(options.repeats):
        for threads in options.threads:
            for name, times in found.items():
                times[threads].append(seconds(name, threads))
    best = {name: min(times.values(), key=np.median) for name, times in found.items()}
    ratio = round(float(np.median(np.divide(best["mmdet"], best["ours"]))), 2)
    speeds = {name: {threads: round(BATCH / float(np.median(values)), 1) for threads, values in times.items()}
              for name, times in found.items()}
    return {"images_s": speeds, "decoding_s": round(decoding, 3), "images": len(ids), "steps": options.steps,
            "loss_difference_same_pixels": same, "loss_difference_from_files": from_files, **hardware()}, ratio


def mmdet_settings(start: Detector, dataset: Dataset, ids: list[str], settings: TrainingConfig,
                   folder: Path) -> dict[str, Any]:
    """The whole config of mmdet's `Runner`."""
    boxes = [(image_id, xyxy, int(label), {"iscrowd": int(ignore)})
             for image_id, there in ((image_id, dataset.boxes[image_id]) for image_id in ids)
             for xyxy, label, ignore in zip(there.xyxy, there.labels, there.ignore, strict=True)]
    write_json(folder / "truth.json", document(dataset, ids, boxes, keep_ids=False))
    save_for_mmdet(start, folder / "start.pth")
    rise = max(1, settings.steps // 10)
    made = mmdet_config(dataset.classes, [])
    made.pop("test_dataloader")
    return made | {
        "work_dir": str(folder / "mmdet"), "load_from": str(folder / "start.pth"), "log_processor": {"by_epoch": False},
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": settings.steps},
        "train_dataloader": {
            "batch_size": BATCH, "num_workers": 2, "persistent_workers": True,
            "sampler": {"type": "DefaultSampler", "shuffle": True},
            "batch_sampler": {"type": "AspectRatioBatchSampler"},
            "dataset": {"type": "CocoDataset", "ann_file": str(folder / "truth.json"),
                        "data_prefix": {"img": f"{dataset.root}/"}, "metainfo": {"classes": dataset.classes},
                        "filter_cfg": {"filter_empty_gt": True}, "pipeline": pipeline(augmented=True)}},
        "optim_wrapper": {"type": "OptimWrapper", "clip_grad": {"max_norm": CLIP_NORM},
                          "optimizer": {"type": "AdamW", "lr": settings.lr, "weight_decay": WEIGHT_DECAY},
                          "paramwise_cfg": {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0}},
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.04, "by_epoch": False, "begin": 0, "end": rise},
            {"type": "CosineAnnealingLR", "T_max": settings.steps - rise, "by_epoch": False, "begin": rise}],
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 10 ** 6,
                                         "save_last": False}}}


def pipeline(augmented: bool) -> list[dict[str, Any]]:
    """mmdet's transforms; augmented as `mgral.data.augment.TRAIN`."""
    loading = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "with_bbox": True},
               {"type": "Resize", "scale": (IMAGE_SIZE, IMAGE_SIZE), "keep_ratio": True}]
    random = [{"type": "RandomAffine", "max_rotate_degree": 0.0, "max_shear_degree": 0.0, "max_translate_ratio": 0.1,
               "scaling_ratio_range": (0.8, 1.25)},
              {"type": "RandomFlip", "prob": 0.5},
              {"type": "PhotoMetricDistortion", "brightness_delta": 25, "contrast_range": (0.8, 1.2),
               "saturation_range": (0.8, 1.2), "hue_delta": 0}]
    return [*loading, *(random if augmented else []), {"type": "PackDetInputs", "meta_keys": (
        "img_path", "ori_shape", "img_shape", "scale_factor")}]


def run_mmdet(settings: dict[str, Any]) -> list[float]:
    """The moment after each step of a training from the start."""
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    moments: list[float] = []

    class Clock(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            outputs["loss"].item()  # as ours, which gives the loss of each step
            moments.append(time.perf_counter())

    runner = Runner.from_cfg(configured(settings))
    runner.register_hook(Clock())
    runner.train()
    return moments


def configured(settings: dict[str, Any]) -> Any:
    from mmengine.config import Config

    return Config(copy.deepcopy(settings))


def compared(start: Detector, settings: dict[str, Any], store: ImageStore, dataset: Dataset,
             ids: list[str]) -> tuple[float, float]:
    """How far the losses of a batch are apart, as shares: mmdet on our pixels, mmdet on its own."""
    from mmdet.registry import DATASETS, MODELS
    from mmengine.dataset import pseudo_collate

    config = configured(settings)
    model = MODELS.build(config.model).train()
    model.load_state_dict(start.model.state_dict())
    part = ids[:BATCH]
    ours = copy.deepcopy(start).train()
    targets = list(targets_of(store, dataset.boxes, part, ours.device).values())
    loss = total(ours.losses(store.pixels(part), targets)).item()
    truth = samples(metas([store.content(image_id) for image_id in part], store.canvas), targets)
    drawn = [pixels[:, :height, :width].flip(0) for pixels, (height, width)
             in zip(store.pixels(part), map(store.content, part), strict=True)]
    batch = pseudo_collate([{"inputs": pixels, "data_samples": sample}
                            for pixels, sample in zip(drawn, truth, strict=True)])
    config.train_dataloader.dataset.pipeline = pipeline(augmented=False)
    read = DATASETS.build(config.train_dataloader.dataset)
    rows = {read.get_data_info(row)["img_path"]: row for row in range(len(read))}
    files = pseudo_collate([read[rows[str(dataset.path(image_id))]] for image_id in part])
    apart = []
    for data, most in ((batch, SAME_PIXELS), (files, FROM_FILES)):
        other = mmdet_loss(copy.deepcopy(model), data)
        apart.append(abs(other - loss) / loss)
        if apart[-1] > most:
            raise SystemExit(f"training: expected mmdet's first loss {other:.5f} within {most:.2%}, got {loss:.5f}")
    return apart[0], apart[1]


def mmdet_loss(model: torch.nn.Module, batch: dict) -> float:
    """The sum of the losses, as mmdet's training step sums them."""
    data = model.data_preprocessor(batch, training=True)
    return model.parse_losses(model(**data, mode="loss"))[0].item()


if __name__ == "__main__":
    main()
