"""The playground: a canvas to draw on, and a network in the page that classifies the drawing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnet.core.run import Run
from jaxnet.data import Splits
from jaxnet.display import visible
from jaxnet.errors import InputError
from jaxnet.models.model import Model
from jaxnet.report.html.document import text
from jaxnet.report.html.network import network
from jaxnet.report.html.placement import placement

LARGEST_CANVAS = 64  # pixels of a side that is drawn on
# Test examples that can be looked at: how many at most, and how many pixels in all.
CANVAS_EXAMPLES, CANVAS_PIXELS = 24, 20_000
CANVAS_MEMBERS = 8  # networks of a population

HTML = """
<p>Draw with mouse, finger or pen: {words}. With the keyboard: arrow keys move the pen,
the space bar lifts and lowers it, Backspace clears.</p>
<div class="playground">
<div>
<canvas id="draw" width="320" height="320" tabindex="0" role="application"
 aria-label="drawing area"></canvas>
<div class="tools"><button type="button" id="clear">clear</button>
<label>or test example
<select id="example"><option value="">none</option>{examples}</select></label></div>
<figure><canvas id="seen" class="pixels" width="{width}" height="{height}" role="img"
 aria-label="what the network sees"></canvas>
<figcaption>what the network sees, {height} x {width} pixels</figcaption></figure>
</div>
<div>
<p class="answer" id="answer" role="status"></p>
<ul class="bars" id="probabilities"></ul>
<div id="members"></div>
<h3>What each layer makes of it</h3>
<div class="layers" id="layers"></div>
<h3>What a unit looks for</h3>
<div class="tools"><label>layer <select id="layer"></select></label>
<label>unit <input type="number" id="unit" min="0" value="0" inputmode="numeric"></label></div>
<figure><canvas id="weights" role="img" aria-label="weights"></canvas>
<figcaption id="weights-words"></figcaption></figure>
</div>
</div>
"""


class Playground(NamedTuple):
    """The playground as HTML, empty if there is none.

    Attributes:
        html: the section.
        read: what its scripts read, by the id of the element.
    """

    html: str
    read: dict[str, Any]


def playground(model: Model, runs: Sequence[Run], splits: Splits) -> Playground:
    """The playground of one network, or of several whose predictions may differ.

    It is for classes of gray images of at most 64 x 64 pixels.

    Args:
        model: the architecture.
        runs: the trained networks.
        splits: the data.

    Returns:
        The Playground; a sentence instead if the network does not fit into a page.
    """
    x, pixel_max, classes = splits.test.x, splits.test.pixel_max, splits.classes
    shape = tuple(x.shape[1:])
    gray = len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)
    if pixel_max is None or classes is None or not gray or max(shape[:2]) > LARGEST_CANVAS:
        return Playground("", {})
    height, width = shape[:2]
    where = placement(np.asarray(splits.train.x).reshape(-1, height, width), pixel_max)
    if where.ink == where.background:
        return Playground("", {})
    sound = [run for run in runs if not run.diverged]
    if not sound:
        return Playground(f"<p>The network is not in this page: it {text(runs[0].status)}.</p>", {})
    try:
        found = network(model, sound[:CANVAS_MEMBERS])
    except InputError as error:
        return Playground(f"<p>The network is not in this page: {text(error)}.</p>", {})
    count = min(CANVAS_EXAMPLES, CANVAS_PIXELS // (height * width), len(x))
    rows = np.linspace(0, len(x) - 1, count).astype(int)
    labels = np.asarray(splits.test.y)[rows]
    options = "".join(
        f'<option value="{i}">{row}: {text(classes[label])}</option>'
        for i, (row, label) in enumerate(zip(rows, labels, strict=True))
    )
    center = "box" if where.centered == "box" else "center of mass"
    how = f"your drawing is scaled and centered by its {center}, like the training images"
    how = (
        "your drawing is not moved or scaled, since the training images are not all of one size"
        if where.size is None
        else how
    )
    read = {
        "network": found.data,
        "playground": {
            "classes": list(map(visible, classes)),
            "placement": where._asdict(),
            "examples": [np.asarray(x[row], np.float64).ravel().round(4).tolist() for row in rows],
        },
    }
    return Playground(HTML.format(words=how, examples=options, height=height, width=width), read)
