"""The files behind `kdlab.data`: where they lie, what they must contain, where they are fetched.

A *part* of a data set is two files: the official IDX files (MNIST), or a lossless WebP contact
sheet of 100 x 100 pictures and its labels (CIFAR-10); the digest of pixels and labels tells it.
"""

import gzip
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from kdlab import files
from kdlab.files import data_dir, digest

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
FOLDER = "cifar-10-batches-py"  # of torchvision


def read_parts(family: str, parts: list[str]) -> list[Part]:
    """The parts of "mnist" or "cifar10", checked, from $KDLAB_DATA or else from the clone."""
    if not data_dir().is_dir():
        raise DataError(f"{data_dir()} is not a folder: set KDLAB_DATA to one, or unset it")
    folders = [_locate(family, part) for part in parts]
    absent = ", ".join(p for p, folder in zip(parts, folders, strict=True) if folder is None)
    if absent and family == "cifar10" and (data_dir() / FOLDER).is_dir():
        return _read_torchvision(parts)
    if absent:
        raise DataError(f"{family} ({absent}) is not in {data_dir()}: {_remedy(family)}")
    return [_read_part(family, part, folder) for part, folder in zip(parts, folders, strict=True)]


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
    folder = data_dir() / FOLDER
    try:
        whole = torchvision_cifar10(data_dir(), train="test" not in parts)
    except (RuntimeError, OSError) as error:
        raise DataError(f"{folder} is incomplete or altered: {_remedy('cifar10')}") from error
    images = whole.data.transpose(0, 3, 1, 2).reshape(-1, BATCH, 3, 32, 32)
    batches = list(zip(images, np.array(whole.targets, np.uint8).reshape(-1, BATCH), strict=True))
    place = {part: k % 5 for k, part in enumerate(CIFAR10.digests)}  # "test" has a file of its own
    return [_checked("cifar10", part, batches[place[part]], folder) for part in parts]


def _checked(family: str, part: str, content: Part, origin: object) -> Part:
    """The content, if it is the official one."""
    if part_digest(*content) != SOURCES[family].digests[part]:
        raise DataError(
            f"{origin} or its labels are not the official {family} {part} (the digest differs): "
            f"{_remedy(family)}"
        )
    return content


def _remedy(family: str) -> str:
    restore = f"`git checkout data/{family}` restores what a clone has"
    return restore if family == "mnist" else f"run `python -m kdlab data {family}`, or {restore}"


def _parse_idx(path: Path) -> np.ndarray:
    """A gzip-compressed IDX file of unsigned bytes (LeCun's format)."""
    raw = gzip.decompress(path.read_bytes())
    header = 4 + 4 * raw[3]
    return np.frombuffer(raw, np.uint8, offset=header).reshape(np.frombuffer(raw[4:header], ">u4"))


def _read_sheet(path: Path) -> np.ndarray:
    """A contact sheet, side x side pictures in reading order -> uint8 [side * side, 3, 32, 32]."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    side = len(pixels) // 32
    grid = pixels.reshape(side, 32, side, 32, 3).transpose(0, 2, 4, 1, 3)
    return grid.reshape(side * side, 3, 32, 32)


def download(name: str = "cifar10", target: str | Path | None = None) -> Path:
    """Fetch all of CIFAR-10 by torchvision, from the official site, into `target` (`data_dir()` if
    not said). Nothing is fetched where it is sound already; a cut leaves whole files.

    ValueError for another name; DataError where there is no network or no room.
    """
    if name != "cifar10":
        raise ValueError(f"only 'cifar10' is downloaded, not {name!r}; a clone has all of 'mnist'")
    root = Path(target or data_dir()).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not _is_whole(root):
            with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as scratch:
                torchvision_cifar10(scratch, download=True)
                (root / FOLDER).mkdir(exist_ok=True)
                for file in (Path(scratch) / FOLDER).iterdir():
                    os.replace(file, root / FOLDER / file.name)
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(
            f"cifar10 could not be fetched into {root} ({error}): with a network and 500 MB there "
            f"run `python -m kdlab data cifar10` again, or copy {FOLDER} of a machine that has it"
        ) from error
    return root / FOLDER


def _is_whole(root: Path) -> bool:
    """Whether torchvision's folder is there, with all its checksums."""
    with suppress(RuntimeError):
        return bool(torchvision_cifar10(root, download=False))
    return False


def torchvision_cifar10(root: str | Path, **options: bool) -> object:
    """torchvision's own data set, which it unpickles after an md5 check."""
    import torchvision

    return torchvision.datasets.CIFAR10(root, **options)
