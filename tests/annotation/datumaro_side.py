"""What datumaro reads and writes, run by a Python that has it: `read FORMAT FOLDER` or `write FORMAT FOLDER SOURCE`.

Prints the boxes that it has read as JSON: image without ending → [label, x1, y1, x2, y2] by box.
"""

import json
import sys

import datumaro


def boxes_of(dataset):
    labels = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
    return {item.id: [[labels[box.label], *box.points] for box in item.annotations
                      if box.type == datumaro.AnnotationType.bbox] for item in dataset}


command, kind, folder, *source = sys.argv[1:]
if command == "read":
    sys.stdout.write(json.dumps(boxes_of(datumaro.Dataset.import_from(folder, kind))))
else:
    datumaro.Dataset.import_from(source[0], "coco").export(folder, kind)
