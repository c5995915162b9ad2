"""A plain chart of curves with intervals, as an image."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, MARGIN, LEGEND = 640, 420, 60, 18
COLORS = ("#1b6ca8", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#117a65", "#566573", "#7b241c")
TICKS = 5

Points = Sequence[tuple[float, float, float]]  # x, y, half of the interval around y


def chart(curves: Mapping[str, Points], across: str, up: str) -> np.ndarray:
    """uint8 [H, W, 3]: a line a curve, its legend below.

    Args:
        across, up: labels of the axes.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT + LEGEND * len(curves)), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    points = [point for line in curves.values() for point in line]
    xs = _range([x for x, _, _ in points])
    ys = _range([y + side * half for _, y, half in points for side in (-1, 1)])

    def place(x: float, y: float) -> tuple[float, float]:
        right = MARGIN + (x - xs[0]) / (xs[1] - xs[0]) * (WIDTH - 2 * MARGIN)
        return right, HEIGHT - MARGIN - (y - ys[0]) / (ys[1] - ys[0]) * (HEIGHT - 2 * MARGIN)

    draw.line([place(xs[0], ys[1]), place(xs[0], ys[0]), place(xs[1], ys[0])], "black")
    for n in range(TICKS):
        y = ys[0] + n / (TICKS - 1) * (ys[1] - ys[0])
        draw.text((4, place(0, y)[1] - 7), f"{y:.4g}", "black", font)
    for x in sorted({x for x, _, _ in points}):
        draw.text((place(x, 0)[0] - 6, HEIGHT - MARGIN + 6), f"{x:g}", "black", font)
    draw.text((WIDTH // 2, HEIGHT - MARGIN + 24), across, "black", font)
    draw.text((MARGIN, MARGIN - 24), up, "black", font)
    for n, (name, line) in enumerate(curves.items()):
        color = COLORS[n % len(COLORS)]
        draw.line([place(x, y) for x, y, _ in line], color, 2)
        for x, y, half in line:
            draw.line([place(x, y - half), place(x, y + half)], color, 1)
            right, down = place(x, y)
            draw.ellipse([right - 3, down - 3, right + 3, down + 3], color)
        draw.text((MARGIN, HEIGHT + LEGEND * n - 14), name, color, font)
    return np.asarray(image)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From the smallest to the largest with a little room; never empty."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or max(abs(low), 1.0) * 0.05
    return low - room, high + room
