"""A data set as TensorFlow Datasets leaves it on disk."""

import io
import json

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
NAMES = ("cat", "dog", "owl")


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_prepared(
    root,
    name="pets",
    *,
    parts=(("train", 30), ("test", 12)),
    shape=(5, 4),
    shapes=None,
    broken=False,
):
    """What TFDS leaves on disk after preparing, with ArrayRecord files; returns {part: (pixels,
    labels)}.
    """
    from array_record.python import array_record_module
    from tensorflow_datasets.proto import tf_example_pb2

    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    arrays, splits = {}, []
    for part, count in parts:
        file = folder / f"{name}-{part}.array_record-00000-of-00001"
        writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
        pixels = [
            RNG.integers(0, 256, (shapes or [shape])[i % len(shapes or [shape])], dtype=np.uint8)
            for i in range(count)
        ]
        labels = np.arange(count) % 3
        for i in range(count):
            example = tf_example_pb2.Example()
            image = b"broken" if broken and i == 7 else _png(pixels[i])
            example.features.feature["image"].bytes_list.value.append(image)
            example.features.feature["label"].int64_list.value.append(int(labels[i]))
            writer.write(example.SerializeToString())
        writer.close()
        arrays[part] = (pixels, labels)
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        splits.append(
            {
                "name": part,
                "numBytes": "1",
                "shardLengths": [str(count)],
                "filepathTemplate": template,
            }
        )
    info = {
        "name": name,
        "version": "1.0.0",
        "fileFormat": "array_record",
        "splits": splits,
        "moduleName": "pets",
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    size = [str(n) for n in (*shape[:2], 3 if len(shape) == 3 else 1)]
    base = "tensorflow_datasets.core.features"
    features = {
        "image": {
            "pythonClassName": f"{base}.image_feature.Image",
            "image": {"shape": {"dimensions": size}, "dtype": "uint8", "encodingFormat": "png"},
        },
        "label": {
            "pythonClassName": f"{base}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": "3"},
        },
    }
    described = {
        "pythonClassName": f"{base}.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }
    (folder / "features.json").write_text(json.dumps(described))
    (folder / "label.labels.txt").write_text("\n".join(NAMES) + "\n")
    return arrays
