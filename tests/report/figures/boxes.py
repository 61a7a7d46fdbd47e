"""Where the parts of a figure stand, and what is drawn of each block."""


def named(axes):
    """The line or the marker of each block, by its label."""
    return {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}


def assert_apart(boxes, figure):
    """All boxes lie within the figure, and no two overlap."""
    for n, box in enumerate(boxes):
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:n])
