"""What commands print and write."""

import json


def rows_of(result):
    (group,) = json.loads(result.stdout)["groups"]
    return group["rows"]


def only(out, pattern):
    (path,) = out.glob(pattern)
    return path
