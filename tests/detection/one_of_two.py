"""What each process of tests/detection/test_distributed.py does: `one_of_two.py FOLDER CASE`."""

import json
import sys
from pathlib import Path

from mgral.detection.distributed import joined
from mgral.errors import StateError
from tests.detection.scenes import Scenes
from tests.detection.test_distributed import run


def main(folder: Path, case: str) -> None:
    with joined("cpu") as (world, _):
        ids = Scenes(12).ids[world.rank:] if case == "other" else None
        try:
            losses, weights = run(world, case != "learning", ids=ids)
            said = {"losses": losses, "weights": weights[::997].tolist()}
        except StateError as error:
            said = {"fault": str(error)}
        if case == "still":
            checkpoint = folder / "work" / "part.pth"
            run(world, checkpoint=checkpoint, until=3)
            world.wait()
            said["files"] = sorted(path.name for path in checkpoint.parent.iterdir())
            said["continued"] = run(world, checkpoint=checkpoint)[0]
        (folder / f"{world.rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
