"""The ten digits as somebody might draw them in plain lines: points (x, y) in shares of the drawing
area, y downwards.
"""

import math


def arc(x, y, across, down, start, end, points=24):
    """Part of an ellipse around (x, y); angles in degrees, 0 to the right, 90 downwards."""
    angles = [math.radians(start + (end - start) * i / points) for i in range(points + 1)]
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


DIGITS = {
    0: [arc(0.5, 0.5, 0.2, 0.32, -90, 270)],
    1: [[(0.4, 0.3), (0.52, 0.18), (0.52, 0.82)]],
    2: [[*arc(0.5, 0.36, 0.2, 0.18, -170, 20), (0.3, 0.82), (0.72, 0.82)]],
    3: [[*arc(0.47, 0.34, 0.19, 0.16, -150, 80), *arc(0.47, 0.66, 0.22, 0.17, -80, 150)]],
    4: [[(0.56, 0.18), (0.28, 0.6), (0.74, 0.6)], [(0.6, 0.4), (0.6, 0.84)]],
    5: [[(0.68, 0.18), (0.38, 0.18), (0.35, 0.47), *arc(0.48, 0.63, 0.2, 0.19, -120, 150)]],
    6: [
        [
            (0.6, 0.17),
            *arc(0.62, 0.62, 0.3, 0.45, -120, -180),
            *arc(0.5, 0.65, 0.18, 0.17, -180, 180),
        ]
    ],
    7: [[(0.3, 0.2), (0.7, 0.2), (0.44, 0.82)]],
    8: [[*arc(0.5, 0.34, 0.15, 0.16, 90, -270), *arc(0.5, 0.66, 0.18, 0.16, -90, 270)]],
    9: [[*arc(0.5, 0.36, 0.17, 0.17, 0, -360), (0.66, 0.5), (0.6, 0.84)]],
}


def draw(page, lines):
    """Draws them with the mouse on the canvas of the playground."""
    box = page.locator("#draw").bounding_box()
    for line in lines:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in line]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=3)
        page.mouse.up()
