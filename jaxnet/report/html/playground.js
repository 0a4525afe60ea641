"use strict";
// Draw, and watch the network think. Drawings are lines, drawn anew in the size and place that figures have in the training images.

const FINE = 8; // parts of a pixel when a drawing is made of pixels
const STEP = 0.04; // of the drawing area, that an arrow key moves the pen

// (values of the image) of lines, each a list of points in shares of the drawing area.
function imageOf(lines, place) {
  const { height, width, stroke } = place;
  const points = lines.flat();
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const box = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const across = box[1] - box[0], down = box[3] - box[2];
  const middle = [(box[0] + box[1]) / 2, (box[2] + box[3]) / 2];
  let scale = Math.max(height, width), at = middle.map((m) => m * scale);
  if (place.size !== null) {
    const side = place.side === "height" ? down : Math.max(across, down);
    const fits = [(place.size - stroke) / side, (width - stroke) / across, (height - stroke) / down];
    scale = Math.min(...fits.filter(Number.isFinite), 4 * scale);
    at = [place.center[1], place.center[0]];
  }
  let ink = inkOf(lines, middle, at, scale, place);
  if (place.size !== null && place.centered === "mass") {
    let mass = 0, x = 0, y = 0;
    ink.forEach((value, i) => { mass += value; x += value * (i % width + 0.5); y += value * (Math.floor(i / width) + 0.5); });
    at = [at[0] + place.center[1] - x / mass, at[1] + place.center[0] - y / mass];
    ink = inkOf(lines, middle, at, scale, place);
  }
  return ink.map((share) => place.background + share * (place.ink - place.background));
}

// (share of each pixel that is inked), with the point `middle` of the drawing at the pixel `at`.
function inkOf(lines, middle, at, scale, { height, width, stroke }) {
  const canvas = document.createElement("canvas");
  canvas.width = width * FINE;
  canvas.height = height * FINE;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.lineWidth = stroke * FINE;
  pen.lineCap = pen.lineJoin = "round";
  for (const line of lines) {
    pen.beginPath();
    for (const [x, y] of line.length > 1 ? line : [line[0], line[0]]) {
      pen.lineTo(FINE * (at[0] + scale * (x - middle[0])), FINE * (at[1] + scale * (y - middle[1])));
    }
    pen.stroke();
  }
  const alpha = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  const ink = new Float32Array(height * width);
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) ink[Math.floor(y / FINE) * width + Math.floor(x / FINE)] += alpha[4 * (y * canvas.width + x) + 3];
  }
  return ink.map((sum) => sum / (255 * FINE * FINE));
}

(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const element = (id) => document.getElementById(id);
  const network = makeNetwork(read("network"));
  const { classes, placement: place, examples } = read("playground");
  const draw = element("draw"), pen = draw.getContext("2d");
  const blank = new Float32Array(place.height * place.width).fill(place.background);

  let lines = [], image = blank, results = [], empty = true;
  const pointer = { x: 0.5, y: 0.5, down: false, shown: false };

  // Colors of the theme, as numbers.
  const colors = () => {
    const style = getComputedStyle(document.documentElement);
    const [paper, one, two] = ["--paper", "--one", "--two"].map((name) => {
      const hex = style.getPropertyValue(name).trim();
      return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    });
    return { paper, one, two };
  };
  const blend = (share, from, to) => from.map((value, i) => value + share * (to[i] - value));

  // Cells of one color each; value in -1..1, or NaN for none.
  function paint(canvas, values, across, down, zoom) {
    const { paper, one, two } = colors();
    const pixels = new ImageData(across, down);
    values.forEach((value, i) => {
      const color = Number.isNaN(value) ? [0, 0, 0, 0] : [...blend(Math.min(1, Math.abs(value)), paper, value < 0 ? two : one), 255];
      pixels.data.set(color, 4 * i);
    });
    canvas.width = across;
    canvas.height = down;
    canvas.style.width = `${across * zoom}px`;
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  // How the units of a layer lie in its picture: dense as a rectangle, convolutions as a map a channel with a line between.
  function arrangement(shape) {
    const [h, w, n] = shape.length === 3 ? shape : [1, 1, shape.reduce((a, b) => a * b, 1)];
    const gap = shape.length === 3 ? 1 : 0;
    const columns = Math.ceil(Math.sqrt(n * (gap ? 1 : 2)));
    const rows = Math.ceil(n / columns);
    return { h, w, n, gap, columns, across: columns * (w + gap) - gap, down: rows * (h + gap) - gap };
  }

  function pictureOf(values, { h, w, n, gap, columns, across, down }) {
    const cells = new Float32Array(across * down).fill(NaN);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
    for (let unit = 0; unit < n; unit++) {
      const left = (unit % columns) * (w + gap), top = Math.floor(unit / columns) * (h + gap);
      for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) cells[(top + y) * across + left + x] = values[(y * w + x) * n + unit] / largest;
    }
    return cells;
  }

  // The pages' parts for each layer.
  const pictures = network.layers.map((layer, number) => {
    const lies = arrangement(layer.shape);
    const zoom = lies.gap ? Math.max(1, Math.min(4, Math.floor(300 / lies.across))) : Math.max(6, Math.min(24, Math.floor(300 / lies.columns)));
    const figure = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `activations of ${layer.name}`);
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * lies.across / (lies.w + lies.gap));
      const y = Math.floor(((event.clientY - box.top) / box.height) * lies.down / (lies.h + lies.gap));
      choose(number, Math.min(lies.n - 1, y * lies.columns + x));
    });
    caption.textContent = layer.name;
    figure.append(canvas, caption);
    element("layers").append(figure);
    element("layer").add(new Option(layer.name, number));
    return { canvas, lies, zoom };
  });

  function choose(layer, unit) {
    element("layer").value = layer;
    element("unit").max = pictures[layer].lies.n - 1;
    element("unit").value = unit;
    showWeights();
  }

  function showWeights() {
    const layer = Number(element("layer").value);
    const most = pictures[layer].lies.n - 1;
    const unit = Math.max(0, Math.min(most, Math.round(Number(element("unit").value)) || 0));
    const looked = network.weights(layer, unit);
    element("weights").hidden = looked === null;
    if (looked === null) {
      element("weights-words").textContent = `${network.layers[layer].name}, unit ${unit} has no weights of its own`;
      return;
    }
    const { shape, values } = looked;
    const columns = Math.ceil(Math.sqrt(2 * values.length));
    const [down, across] = shape.length === 2 ? shape : [Math.ceil(values.length / columns), columns];
    const largest = values.reduce((sofar, value) => Math.max(sofar, Math.abs(value)), 1e-12);
    const cells = Array.from({ length: across * down }, (_, i) => (i < values.length ? values[i] / largest : NaN));
    paint(element("weights"), cells, across, down, Math.max(2, Math.min(28, Math.floor(230 / Math.max(across, down)))));
    element("weights").style.imageRendering = "pixelated";
    const named = layer === network.layers.length - 1 ? ` (${classes[unit]})` : "";
    element("weights-words").textContent =
      `${network.layers[layer].name}, unit ${unit}${named}: blue adds to it, orange takes away; the largest weight is ${largest.toPrecision(3)}`;
  }

  function showAnswer() {
    const n = results.length;
    const mean = classes.map((_, c) => results.reduce((sum, each) => sum + each.probabilities[c], 0) / n);
    const best = mean.indexOf(Math.max(...mean));
    element("answer").textContent = empty ? "Nothing is drawn yet." : `${classes[best]}, ${(100 * mean[best]).toFixed(0)}%`;
    const shown = mean.map((p, c) => [p, c]);
    if (classes.length > 12) shown.sort((a, b) => b[0] - a[0]).splice(12);
    element("probabilities").replaceChildren(...shown.map(([p, c]) => {
      const item = document.createElement("li"), name = document.createElement("span"), value = document.createElement("span");
      const each = results.map((result) => result.probabilities[c]);
      name.textContent = classes[c];
      value.textContent = empty ? "" : `${(100 * p).toFixed(1)}%` + (n > 1 ? ` (${(100 * Math.min(...each)).toFixed(0)} to ${(100 * Math.max(...each)).toFixed(0)})` : "");
      item.style.setProperty("--share", empty ? 0 : p);
      item.append(name, value);
      return item;
    }));
    if (n < 2) return;
    const votes = results.map(({ probabilities }) => probabilities.indexOf(Math.max(...probabilities)));
    const counts = new Map();
    for (const vote of votes) counts.set(vote, (counts.get(vote) ?? 0) + 1);
    const listed = [...counts].sort((a, b) => b[1] - a[1]).map(([c, count]) => `${count} say ${classes[c]}`).join(", ");
    const words = document.createElement("p");
    words.textContent = empty ? "" : `Of ${n} networks, ${listed}${counts.size > 1 ? ": here they disagree" : ""}.`;
    element("members").replaceChildren(words);
  }

  function show(values, nothing = false) {
    image = Float32Array.from(values);
    empty = nothing;
    results = Array.from({ length: network.members }, (_, member) => network.run(image, member));
    results = results.map(({ probabilities, activations }) => ({
      probabilities: Array.from(probabilities), activations: activations.map((values) => Float32Array.from(values)),
    }));
    const seen = element("seen").getContext("2d"), pixels = new ImageData(place.width, place.height);
    image.forEach((value, i) => {
      const level = 255 * (1 - (value - place.background) / (place.ink - place.background));
      pixels.data.set([level, level, level, 255], 4 * i);
    });
    seen.putImageData(pixels, 0, 0);
    pictures.forEach(({ canvas, lies, zoom }, layer) => paint(canvas, pictureOf(results[0].activations[layer], lies), lies.across, lies.down, zoom));
    showAnswer();
  }

  function redraw() {
    const size = draw.width;
    pen.clearRect(0, 0, size, size);
    pen.lineWidth = Math.max(10, (size * place.stroke) / Math.max(place.height, place.width) / 1.3);
    pen.lineCap = pen.lineJoin = "round";
    for (const line of lines) {
      pen.beginPath();
      for (const [x, y] of line.length > 1 ? line : [line[0], line[0]]) pen.lineTo(x * size, y * size);
      pen.stroke();
    }
    if (pointer.shown) {
      pen.beginPath();
      pen.arc(pointer.x * size, pointer.y * size, 7, 0, 7);
      pen.save();
      pen.lineWidth = 3;
      pen.strokeStyle = pointer.down ? "#d55e00" : "#0072b2";
      pen.stroke();
      pen.restore();
    }
  }

  let waiting = false;
  function changed() {
    element("example").value = "";
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      redraw();
      if (lines.length) show(imageOf(lines, place));
      else show(blank, true);
    });
  }

  const pointOf = (event) => {
    const box = draw.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  let drawing = null;
  draw.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    draw.setPointerCapture(event.pointerId);
    pointer.shown = false;
    drawing = [pointOf(event)];
    lines.push(drawing);
    changed();
  });
  draw.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) drawing.push(pointOf(each));
    changed();
  });
  for (const end of ["pointerup", "pointercancel"]) draw.addEventListener(end, () => { drawing = null; });

  draw.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (step) {
      [pointer.x, pointer.y] = [pointer.x + step[0], pointer.y + step[1]].map((value) => Math.max(0, Math.min(1, value)));
      if (pointer.down) lines.at(-1).push([pointer.x, pointer.y]);
    } else if (event.key === " ") {
      pointer.down = !pointer.down;
      if (pointer.down) lines.push([[pointer.x, pointer.y]]);
    } else if (event.key === "Backspace") {
      clear();
    } else {
      return;
    }
    event.preventDefault();
    pointer.shown = true;
    changed();
  });

  function clear() {
    lines = [];
    pointer.down = false;
    changed();
  }
  element("clear").addEventListener("click", clear);
  element("example").addEventListener("change", ({ target }) => {
    if (target.value === "") return clear();
    lines = [];
    redraw();
    show(examples[Number(target.value)]);
  });
  element("layer").addEventListener("change", ({ target }) => choose(Number(target.value), 0));
  element("unit").addEventListener("input", showWeights);
  document.addEventListener("themechange", () => { show(image, empty); showWeights(); });

  redraw();
  show(blank, true);
  choose(0, 0);
  window.playground = { network, show, imageOf: (given) => imageOf(given, place) };
})();
