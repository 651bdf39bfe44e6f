"""What each process of tests/training/test_distributed.py does: `one_of_two.py FOLDER CASE`."""

import json
import sys
from pathlib import Path

from mgral.detection import joined
from mgral.errors import StateError
from tests.detection.scenes import Scenes
from tests.training.test_distributed import run


def main(folder: Path, case: str) -> None:
    with joined("cpu") as (world, _):
        ids = Scenes(12).ids[world.rank:] if case == "other" else None
        try:
            losses, weights = run(world, case != "learning", ids=ids)
            outcome = {"losses": losses, "weights": weights[::997].tolist()}
        except StateError as error:
            outcome = {"fault": str(error)}
        if case == "still":
            checkpoint = folder / "work" / "part.pth"
            run(world, checkpoint=checkpoint, until=4)  # the third step is saved when the fourth is asked for
            world.wait()
            outcome["files"] = sorted(path.name for path in checkpoint.parent.iterdir())
            outcome["continued"] = run(world, checkpoint=checkpoint)[0]
        (folder / f"{world.rank}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
