"""Which files of a folder or zip are the pictures of which class. Torch-free.

animals/cat/1.png  animals/dog/1.png               class folders
animals/1.png      animals/2.png                   no classes: one, named `all`
animals/1.png      animals/metadata.csv            classes by a column of the table
animals/train/...  animals/val/... or test/...     any of these, with held-out pictures
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ditbench.amounts import counted
from ditbench.data.class_names import natural
from ditbench.data.io.files import Files, ignored, parts_of, shown
from ditbench.data.pictures.settings import Settings
from ditbench.errors import DitbenchError, one_line

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"),
    ".avif",
)
LAYOUT = (
    "expected one folder per class, PATH/cat/1.png PATH/dog/1.png, or pictures alone, PATH/1.png"
)
TRAIN = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "test", "testing")  # the first that is there
TABLES = ("metadata.csv", "metadata.jsonl")  # of Hugging Face's image folders
DELIMITERS = (",", ";", "\t")  # spreadsheet programs write the second in many countries
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category")
ALL = "all"  # the class of pictures without classes

# The parts of a name below the common folder, and the whole name; that of a folder ends in `/`.
Tree = list[tuple[tuple[str, ...], str]]


@dataclass(frozen=True)
class Part:
    """Pictures that belong together: those to train on, or those held out."""

    names: tuple[str, ...]  # of files, in the order of the images
    labels: tuple[int, ...]  # the class of each
    classes: tuple[str, ...]


NO_PICTURES = Part((), (), ())


@dataclass(frozen=True)
class Layout:
    """Where the pictures are; `problems` keep them from being used."""

    train: Part
    held_out: Part | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[DitbenchError, ...] = ()


def find_layout(files: Files, settings: Settings) -> Layout:
    """Group the files by split and class, from their names alone; a metadata table is read. Raises
    a DitbenchError if there are no pictures, or a table cannot be used.
    """
    tree = sorted((parts_of(name), name) for name in files.names() if not ignored(name))
    depth = _depth(tree)
    tree = [(parts[depth:], name) for parts, name in tree if len(parts) > depth]
    finder = _Finder(files, settings)
    splits = _splits(tree)
    train = finder.part(_below(tree, splits, TRAIN) if splits else tree)
    if settings.label_column is not None and not finder.has_table:
        finder.problem(
            f"{shown(files.path)} has no {' or '.join(TABLES)} with the columns file_name and "
            f"{shown(settings.label_column)}",
            "add one, or leave out data.label_column",
        )
    if not train.names and not finder.problems:
        others = [name for _, name in tree if not name.endswith("/")]
        found = f"; {passed_over(others)}" if others else ""
        what = f"{shown(files.path)} holds no class folders with images"
        raise DitbenchError(what, LAYOUT + found)
    held_out = finder.part(_below(tree, splits, HELD_OUT)) if splits else NO_PICTURES
    if others := sorted({*held_out.classes} - {*train.classes, ALL}, key=natural):
        finder.notes.append(f"held-out classes that are not trained: {_listed(others)}")
    for unused in [top for top in splits if top.lower() in HELD_OUT][1:]:
        finder.notes.append(f"{shown(unused)}/ is not used")
    notes, problems = tuple(finder.notes), tuple(finder.problems)
    return Layout(train, held_out if held_out.names else None, notes, problems)


class _Finder:
    """Finds the pictures of one split after the other, and collects what is to be said."""

    def __init__(self, files: Files, settings: Settings) -> None:
        self.files, self.settings = files, settings
        self.notes: list[str] = []
        self.problems: list[DitbenchError] = []
        self.has_table = False  # that says which class a picture has

    def problem(self, what: str, hint: str) -> None:
        """Record a problem that prevents the use of the pictures."""
        self.problems.append(DitbenchError(what, hint))

    def part(self, tree: Tree) -> Part:
        """The pictures of a split: by its table, by class folders, or of one class."""
        for parts, name in tree:
            if len(parts) == 1 and parts[0].lower() in TABLES and not name.endswith("/"):
                classes = self._by_table(tree, name)
                if classes is not None:
                    self.has_table = True
                    return _part(classes)
        flat = [name for parts, name in tree if len(parts) == 1 and looks_like_an_image(name)]
        if flat and not any(len(parts) > 1 and looks_like_an_image(name) for parts, name in tree):
            self._note_other_tables(tree)
            return _part({ALL: flat})
        return _part(self._by_folders(tree))

    def _note_other_tables(self, tree: Tree) -> None:
        """Note tables that are not read because of their name, beside pictures without classes."""
        names = [parts[0] for parts, _ in tree if len(parts) == 1]
        tables = [name for name in names if name.lower().endswith((".csv", ".jsonl"))]
        for name in tables:
            if name.lower() not in TABLES:  # those have a note
                self.notes.append(f"{shown(name)} is not used: a table of classes is {TABLES[0]}")

    def _by_folders(self, tree: Tree) -> dict[str, list[str]]:
        classes: dict[str, list[str]] = {}
        stray: list[str] = []
        for parts, name in tree:
            if name.endswith("/"):
                if len(parts) == 1:
                    classes.setdefault(parts[0], [])
            elif len(parts) == 2:
                classes.setdefault(parts[0], []).append(name)
            elif looks_like_an_image(name):
                # A README beside the class folders is allowed; an image there has no class.
                stray.append(name)
        if stray:
            more = f" (and {len(stray) - 1} more)" if len(stray) > 1 else ""
            self.problem(f"{self.files.where(stray[0])} is not in a class folder{more}", LAYOUT)
        filled = {label: names for label, names in classes.items() if names}
        if filled and len(filled) < len(classes):
            self._refuse_empty([label for label in classes if label not in filled])
        return filled

    def _refuse_empty(self, folders: list[str]) -> None:
        what = f"class folder {shown(folders[0])} is empty"
        if len(folders) > 1:
            what = f"class folders are empty: {_listed(folders)}"
        hint = "add images, or remove the folder"
        self.problem(f"{shown(self.files.path)}: {what}", hint)

    def _by_table(self, tree: Tree, table: str) -> dict[str, list[str]] | None:
        """Classes by a column of the table; None if it has no such column."""
        where, rows = self.files.where(table), read_table(self.files, table)
        column = self._label_column(table, [str(column) for column in rows[0]] if rows else [])
        if column is None:
            return None
        known = {"/".join(parts): name for parts, name in tree}
        classes: dict[str, list[str]] = {}
        for row in rows:
            file, label = str(row.get("file_name")), row.get(column)
            if file not in known:
                raise DitbenchError(
                    f"{where} names {shown(file)}, which is not in its folder",
                    "correct the table, whose paths begin at its folder, or add the file",
                )
            if label in (None, ""):
                raise DitbenchError(f"{where} gives {shown(file)} no {column}", "fill it in")
            classes.setdefault(str(label), []).append(known[file])
        listed = Counter(name for names in classes.values() for name in names)
        if twice := [name for name, count in listed.items() if count > 1]:
            pictures = counted(len(twice), "picture")
            first = shown(twice[0])
            self.notes.append(f"{pictures} that {shown(table)} lists more than once, first {first}")
        if left := sum(looks_like_an_image(name) and name not in listed for _, name in tree):
            pictures = counted(left, "picture")
            self.notes.append(f"{pictures} that {shown(table)} does not list passed over")
        return classes

    def _label_column(self, table: str, columns: list[str]) -> str | None:
        """The column of a table that has the classes; None, with a note, without it."""
        wanted = self.settings.label_column
        if wanted is not None and wanted not in columns:
            what = f"{self.files.where(table)} has no column {shown(wanted)}"
            raise DitbenchError(what, f"its columns are {_listed(columns)}")
        column = wanted or next((name for name in LABEL_COLUMNS if name in columns), None)
        if column is not None and "file_name" in columns:
            return column
        self.notes.append(
            f"{shown(table)} is not used: it has no column file_name with "
            f"{', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}; "
            f"its columns are {_listed(columns) or 'none'}; "
            "--set data.label_column=NAME names another"
        )
        return None


def read_table(files: Files, name: str) -> list[dict[str, object]]:
    """The rows of a table of metadata, CSV or JSON lines; a DitbenchError if it is neither."""
    try:
        text = files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DitbenchError(f"{files.where(name)} is not UTF-8", "save it as UTF-8") from error
    try:
        if name.lower().endswith(".csv"):
            return _read_csv(text)
        return [dict(json.loads(line)) for line in text.splitlines() if line.strip()]
    except (ValueError, TypeError, RecursionError, csv.Error) as error:
        what = f"{files.where(name)} is not a table: {shown(error)}"
        raise DitbenchError(what, "correct it, or remove it") from error


def _read_csv(text: str) -> list[dict[str, object]]:
    """The rows of a CSV file. Its delimiter is the one that yields a column file_name."""
    lines = io.StringIO(text, newline="")
    header = lines.readline()
    fitting = [d for d in DELIMITERS if "file_name" in next(csv.reader([header], delimiter=d))]
    lines.seek(0)
    return [dict(row) for row in csv.DictReader(lines, delimiter=fitting[0] if fitting else ",")]


def looks_like_an_image(name: str) -> bool:
    """Whether the suffix of a name is one of images."""
    return name.rstrip("/").lower().endswith(IMAGE_SUFFIXES)


def check_classes(path: Path, labels: Sequence[int], classes: Sequence[str]) -> None:
    """Raise a DitbenchError if a class has no pictures."""
    if empty := {*range(len(classes))} - {*labels}:
        what = f"{shown(path)}: class {shown(classes[min(empty)])} holds no pictures"
        raise DitbenchError(what, "add pictures to it, or remove it")


def no_pictures(path: Path, names: Iterable[str]) -> DitbenchError:
    """The error for files of which none is a picture."""
    return DitbenchError(f"{shown(path)} holds no pictures", passed_over(names))


def passed_over(names: Iterable[str]) -> str:
    """What is said of files that are not pictures, by their suffixes."""
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "without a suffix" for name in names)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))
    more = ", ..." if len(suffixes) > 5 else ""
    return f"files of other formats passed over: {shown(kinds)}{more}"


def _part(classes: dict[str, list[str]]) -> Part:
    ordered = sorted(classes, key=natural)
    return Part(
        tuple(name for label in ordered for name in sorted(classes[label])),
        tuple(number for number, label in enumerate(ordered) for _ in classes[label]),
        tuple(ordered),
    )


def _splits(tree: Tree) -> list[str]:
    """The top folders if each is a split, `train` among them; held-out ones in order of use."""
    tops = {parts[0] for parts, name in tree if len(parts) > 1 and looks_like_an_image(name)}
    lower = {top.lower() for top in tops}
    stray = any(len(parts) == 1 and looks_like_an_image(name) for parts, name in tree)
    if stray or not lower & {*TRAIN} or not lower <= {*TRAIN, *HELD_OUT}:
        return []
    return sorted(tops, key=lambda top: (*TRAIN, *HELD_OUT).index(top.lower()))


def _below(tree: Tree, splits: Sequence[str], wanted: tuple[str, ...]) -> Tree:
    """The names below the first of the splits that are wanted, without its name."""
    top = next((each for each in splits if each.lower() in wanted), None)
    return [(parts[1:], name) for parts, name in tree if len(parts) > 1 and parts[0] == top]


def _depth(tree: Tree) -> int:
    """1 if a single folder surrounds everything, as in many zips, else 0."""
    files = [(parts, name) for parts, name in tree if not name.endswith("/") and len(parts) > 1]
    one_top = len({parts[0] for parts, _ in files}) == 1
    nested = any(len(parts) > 2 for parts, _ in files)
    table = any(parts[1].lower() in TABLES for parts, _ in files)
    images_on_top = any(len(parts) == 2 and looks_like_an_image(name) for parts, name in files)
    if any(len(parts) == 1 and looks_like_an_image(name) for parts, name in tree):
        return 0
    return int(one_top and (table or (nested and not images_on_top)))


def _listed(names: Sequence[str]) -> str:
    return one_line(", ".join(names[:10]) + ", ..." * (len(names) > 10), 200)
