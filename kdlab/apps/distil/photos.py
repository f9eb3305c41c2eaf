"""For the engineer: a folder of photographs, split for an honest comparison, and what was left out.

A folder of folders: the first folder's name is the label. In a folder "unlabelled", or in none, a
photo has no label. Pixels lie in a memory map, so there may be more photos than memory.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kdlab.apps.distil.words import Sentence, sentence
from kdlab.apps.pixels import fit_pixels
from kdlab.data import UNLABELLED, Images
from kdlab.files import digest

NO_LABEL = "unlabelled"  # the folder of photos without one
FEWEST = 10  # photos of a class: fewer can't be split into training, validation and test
NAMED = 3  # files that one sentence names
CHUNK = 100  # photos in memory at once


class PhotoError(ValueError):
    """A folder that nothing can be learnt from; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Photos:
    """The photographs of a folder, split: no label judges what it has taught or chosen."""

    labelled: Images  # what the labels teach
    train: Images  # these first, then all photos whose label is not used, without it
    validation: Images  # labelled: settings are chosen on it
    test: Images  # labelled: opened once
    paths: tuple[Path, ...]  # of every image, by its index
    notes: tuple[Sentence, ...]  # what was left out or is uneven, a sentence each


def read_photos(
    folder: Path,
    size: int,
    pixels: Path,
    *,
    labels_share: float = 1.0,
    hold_out: float = 0.2,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Photos:
    """Read every photo below `folder` as [3, size, size] into a memory map, the .npy file `pixels`.

    Of each class the share `hold_out` is the test and, of the rest, validation; of what remains,
    the labels of the share `labels_share` are used. PhotoError for a folder with fewer than two
    classes of `FEWEST` photos, or with one picture under two labels.
    """
    files = labels_of(folder)
    pixels.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=pixels.parent, ignore_cleanup_errors=True) as scratch:
        temporary = Path(scratch) / "pixels.npy"
        raw = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(files), 3, size, size))
        rows, notes = decode(files, raw, progress)
        paths = list(rows)
        labels = [files[path] for path in paths]
        classes, uneven = usable_classes(labels, [p.name for p in folder.iterdir() if p.is_dir()])
        order = split(labels, classes, hold_out, labels_share, seed)
        places = sum(order, [])
        final = np.lib.format.open_memmap(pixels, "w+", np.uint8, (len(places), 3, size, size))
        for start in range(0, len(places), CHUNK):
            some = [rows[paths[place]] for place in places[start : start + CHUNK]]
            final[start : start + CHUNK] = raw[some]
        del raw
    sizes = np.cumsum([0, *map(len, order)])
    number = {name: k for k, name in enumerate(classes)}
    known = torch.tensor([number.get(labels[k], UNLABELLED) for k in places])
    known[sizes[1] : sizes[2]] = UNLABELLED  # labels that are not used
    mean, std = statistics(final[: sizes[2]])

    def part(name: str, first: int, last: int) -> Images:
        chosen = torch.from_numpy(final[sizes[first] : sizes[last]])
        index = torch.arange(sizes[first], sizes[last])
        title = f"{folder.name}/{name}"
        return Images(chosen, known[index], index, title, tuple(classes), mean, std)

    return Photos(
        labelled=part("train", 0, 1),
        train=part("train", 0, 2),
        validation=part("validation", 2, 3),
        test=part("test", 3, 4),
        paths=tuple(paths[k] for k in places),
        notes=(*notes, *uneven),
    )


def split(
    labels: Sequence[str | None],
    classes: Sequence[str],
    hold_out: float,
    labels_share: float,
    seed: int,
) -> list[list[int]]:
    """Places of the labelled, the other training, the validation and the test photos; each class
    gives its share of each."""
    order = [[], [], [], []]
    generator = torch.Generator().manual_seed(seed)
    for name in classes:
        places = np.flatnonzero([label == name for label in labels])
        places = places[torch.randperm(len(places), generator=generator).numpy()]
        test = max(1, round(hold_out * len(places)))
        validation = test + max(1, round(hold_out * (len(places) - test)))
        used = validation + max(2, round(labels_share * (len(places) - validation)))
        parts = places[validation:used], places[used:], places[test:validation], places[:test]
        for part, chosen in zip(order, parts, strict=True):
            part.extend(chosen.tolist())
    order[1] += [place for place, label in enumerate(labels) if label is None]
    return order


def labels_of(folder: Path) -> dict[Path, str | None]:
    """The label of each file that is not hidden, labelled ones first."""
    if not folder.is_dir():
        raise PhotoError(f"{folder} is no folder: name one that has a folder of photos a class")
    labels = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(name.startswith(".") for name in inside):
            first = inside[0] if len(inside) > 1 else NO_LABEL
            labels[path] = None if first == NO_LABEL else first
    if not labels:
        raise PhotoError(f"{folder} is empty: it needs a folder of photos for each class")
    return dict(sorted(labels.items(), key=lambda item: item[1] is None))


def decode(
    files: dict[Path, str | None], raw: np.ndarray, progress: Callable[[int, int], None] | None
) -> tuple[dict[Path, int], list[Sentence]]:
    """Write the photos that can be read into `raw` [N, 3, size, size], a row a file: the row of
    each picture, of those that are there twice the first; and a sentence for what was left out."""

    def read(job: tuple[int, Path]) -> tuple[str, str]:
        row, path = job
        try:
            with Image.open(path) as image:
                raw[row] = fit_pixels(image, raw.shape[1:])
        except Image.DecompressionBombError:
            return "", "too many pixels"
        except Image.UnidentifiedImageError:
            return "", "no images"
        except Exception:  # a decoder meets anything in a damaged file
            return "", "damaged"
        return digest(raw[row].tobytes()), ""

    rows, first, left_out, twins = {}, {}, defaultdict(list), []
    with ThreadPoolExecutor() as pool:
        results = pool.map(read, enumerate(files))
        for row, (path, (key, why)) in enumerate(zip(files, results, strict=True)):
            if progress:
                progress(row + 1, len(files))
            if why:
                left_out[why].append(path)
            elif key in first:
                twins.append((first[key], path))
            else:
                rows[path], first[key] = row, path
    both = [(a, b) for a, b in twins if files[a] and files[b] and files[a] != files[b]]
    if both:
        a, b = both[0]
        raise PhotoError(
            f"two labels on one picture, {len(both)} times: {a.parent.name}/{a.name} is "
            f"{b.parent.name}/{b.name}; delete one of each"
        )
    notes = [sentence(why, n=len(some), files=named(some)) for why, some in left_out.items()]
    if twins:
        notes.append(sentence("twice", n=len(twins), files=named(twins)))
    return rows, notes


def named(files: Sequence) -> str:
    """The first few of some files, or pairs of files."""
    names = [str(f.name if isinstance(f, Path) else f[1].name) for f in files[:NAMED]]
    return ", ".join(names) + (", ..." if len(files) > NAMED else "")


def usable_classes(
    labels: Sequence[str | None], folders: Sequence[str] = ()
) -> tuple[list[str], list[Sentence]]:
    """The classes with `FEWEST` photos or more, and a sentence for others, empty `folders` among
    them, and for unevenness."""
    counts = Counter(label for label in labels if label is not None)
    for name in folders:
        if name != NO_LABEL and not name.startswith("."):
            counts.setdefault(name, 0)
    classes = sorted(name for name, count in counts.items() if count >= FEWEST)
    if len(classes) < 2:
        found = ", ".join(f"{name} ({count})" for name, count in counts.most_common(5)) or "none"
        raise PhotoError(
            f"two classes with {FEWEST} photos each are the least that can be learnt; there are: "
            f"{found}"
        )
    small = sorted(set(counts) - set(classes))
    notes = [sentence("rare class", name=name, n=counts[name], fewest=FEWEST) for name in small]
    most, least = max(counts[c] for c in classes), min(counts[c] for c in classes)
    if most > 3 * least:
        notes.append(sentence("uneven", times=most / least))
    return classes, notes


def statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel on the 0..1 scale, from how often each of the 256 levels is
    there: exact, with a chunk in memory at a time."""
    counts, levels = np.zeros((3, 256)), np.arange(256) / 255
    for start in range(0, len(images), CHUNK):
        for channel, part in enumerate(images[start : start + CHUNK].transpose(1, 0, 2, 3)):
            counts[channel] += np.bincount(part.ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    std = np.sqrt(np.maximum(shares @ levels**2 - mean**2, 1e-6))
    return tuple(mean.tolist()), tuple(std.tolist())
