"""What can happen to a file of a run: functions of the run directory's path."""

import json
import os


def edit(name, change):
    """Change the text of one file."""

    def damage(run):
        path = run / name
        text = path.read_text()
        changed = change(text)
        assert changed != text
        path.write_text(changed)

    return damage


def write(name, content):
    return lambda run: (run / name).write_bytes(content)


def cut(name, share):
    return edit(name, lambda text: text[: int(len(text) * share)])


def shortened(name, characters):
    return edit(name, lambda text: text[:-characters])


def json_key(name, key, value):
    """Set one key; `...` removes it."""

    def change(text):
        table = json.loads(text)
        table.pop(key) if value is ... else table.update({key: value})
        return json.dumps(table)

    return edit(name, change)


def replaced(name, old, new, times=-1):
    return edit(name, lambda text: text.replace(old, new, times))


def lines(name, upto):
    """Keep the first lines, or with a negative number all but the last."""
    return edit(name, lambda text: "".join(text.splitlines(keepends=True)[:upto]))


def instead(name, make):
    """Remove a file and make something else in its place."""

    def damage(run):
        (run / name).unlink()
        make(run / name)

    return damage


def pipe(name):
    return instead(name, os.mkfifo)


def linked(name, target):
    return instead(name, lambda path: path.symlink_to(target))


def huge(name):
    """A file that declares ten gigabytes and takes none."""
    return lambda run: os.truncate(run / name, 10 * 2**30)


def removed(name):
    return lambda run: (run / name).unlink()
