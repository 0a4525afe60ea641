"use strict";
// Try a row: the cells of a table become the inputs of the network as in training, and the network predicts.

// (inputs, and for each column that cannot be used why) of the texts of the cells of a row; NaN where there is no input.
function encodeRow({ columns, gaps }, cells) {
  const x = [], refused = [];
  columns.forEach((column, number) => {
    const own = new Float64Array(column.width), written = String(cells[number]).trim(), gap = gaps.includes(written);
    const named = column.categories ? column.categories.length : column.dates ? column.dates.parts.length : 1;
    if (column.missing && gap) own[named] = 1;
    if (gap && column.fill === null) refused.push(`${column.name} has no value, and the network learned from rows that have one`);
    if (column.categories) {
      const known = gap ? -1 : column.categories.indexOf(written);
      if (known >= 0) own[known] = 1;
      else if (column.other && !(gap && column.missing)) own[column.width - 1] = 1;
    } else if (column.dates) {
      const first = Date.parse(`${column.dates.first}Z`) / 1000;
      const stood = first + Math.round((column.fill ?? 0) * 86400);
      const moment = gap ? stood : Date.parse(/\d[T ]\d/.test(written) ? `${written.replace(" ", "T")}Z` : written) / 1000;
      if (Number.isNaN(moment)) refused.push(`${column.name}: ${written} is no date`);
      const day = Math.floor(moment / 86400), at = new Date(moment * 1000);
      const parts = {
        year: at.getUTCFullYear(), month: at.getUTCMonth() + 1, weekday: (((day + 3) % 7) + 7) % 7,
        hour: Math.floor((moment - day * 86400) / 3600), days: (moment - first) / 86400,
      };
      column.dates.parts.forEach((part, i) => { own[i] = parts[part]; });
    } else {
      own[0] = gap ? column.fill ?? 0 : Number(column.unit ? written.replace(column.unit, "") : written);
      if (Number.isNaN(own[0])) refused.push(`${column.name}: ${written} is no number`);
    }
    x.push(...own);
  });
  return { x, refused };
}

// (outputs of the network: log-probabilities of the classes, or a value) of inputs
function predictRow(network, { origins }, x) {
  const { inputs, values } = origins, of = (list, i) => list[list.length > 1 ? i : 0];
  const held = inputs ? x.map((value, i) => (value - of(inputs.offset, i)) / of(inputs.unit, i)) : x;
  const outputs = [...network.outputs(Float32Array.from(held))];
  return values ? outputs.map((value) => value * values.unit[0] + values.offset[0]) : outputs;
}

(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const element = (id) => document.getElementById(id);
  const network = makeNetwork(read("network")), row = read("row");
  const form = element("row-form"), controls = [...form.elements];

  const answer = () => {
    const { x, refused } = encodeRow(row, controls.map((control) => control.value));
    const bars = element("row-probabilities");
    bars.replaceChildren();
    if (refused.length) {
      element("row-answer").textContent = `${refused[0]}.`;
      return;
    }
    const outputs = predictRow(network, row, x);
    if (!row.classes) {
      element("row-answer").textContent = [row.label, "=", outputs[0].toLocaleString("en-US", { maximumSignificantDigits: 5 }), row.unit].join(" ").trim();
      return;
    }
    const order = outputs.map((_, i) => i).sort((a, b) => outputs[b] - outputs[a]).slice(0, 10);
    element("row-answer").textContent = `${row.classes[order[0]]}, ${(100 * Math.exp(outputs[order[0]])).toFixed(0)}%`;
    for (const each of order) {
      const share = Math.exp(outputs[each]), item = document.createElement("li");
      item.style.setProperty("--share", share.toFixed(3));
      for (const words of [row.classes[each], `${(100 * share).toFixed(1)}%`]) {
        item.append(Object.assign(document.createElement("span"), { textContent: words }));
      }
      bars.append(item);
    }
  };

  const fill = () => {
    row.examples[element("row-example").value].forEach((cell, i) => { controls[i].value = cell; });
    answer();
  };
  element("row-example").addEventListener("change", fill);
  form.addEventListener("input", answer);
  form.addEventListener("submit", (event) => event.preventDefault());
  fill();
})();
