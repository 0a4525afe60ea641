"use strict";
// The theme, and what a chart says where it is pointed at: with a mouse, a finger or the arrow keys.

(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { button.textContent = isDark() ? "light" : "dark"; button.setAttribute("aria-label", `${button.textContent} theme`); };
  button.hidden = false;
  const changed = () => { name(); document.dispatchEvent(new Event("themechange")); };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; changed(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  name();

  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);

  const say = (words, x, y) => {
    tip.textContent = words;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 4))}px`;
    tip.style.top = `${Math.max(4, y - box.height - 10)}px`;
  };

  for (const chart of document.querySelectorAll(".chart")) {
    const strips = [...chart.querySelectorAll(".strips rect")];
    if (!strips.length) continue;
    let here = -1;
    const leave = () => {
      if (here < 0) return; // what is shown may be of another chart
      strips[here].classList.remove("here");
      here = -1;
      tip.hidden = true;
    };
    const show = (index, x, y) => {
      strips[here]?.classList.remove("here");
      here = index;
      strips[here].classList.add("here");
      const box = strips[here].getBoundingClientRect();
      say(strips[here].dataset.words, x ?? box.left + box.width / 2, y ?? box.top + 40);
    };
    strips.forEach((strip, index) => {
      const title = strip.querySelector("title");
      strip.dataset.words = title.textContent;
      title.remove(); // else the browser shows it too
      for (const event of ["pointermove", "pointerdown"]) strip.addEventListener(event, (e) => show(index, e.clientX, e.clientY));
      strip.addEventListener("pointerleave", (e) => { if (e.pointerType === "mouse") leave(); });
    });
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") leave();
      if (!step) return;
      event.preventDefault();
      show(Math.max(0, Math.min(strips.length - 1, here + step)));
    });
    chart.addEventListener("blur", leave);
    document.addEventListener("pointerdown", (e) => { if (!chart.contains(e.target)) leave(); });
  }

  for (const button of document.querySelectorAll("button[data-copies]")) {
    button.addEventListener("click", async () => {
      const read = JSON.parse(document.getElementById(button.dataset.copies).textContent);
      const words = typeof read === "string" ? read : JSON.stringify(read, null, 1);
      let done = true;
      try {
        await navigator.clipboard.writeText(words);
      } catch { // not allowed here: by way of a selection
        const area = Object.assign(document.createElement("textarea"), { value: words });
        document.body.append(area);
        area.select();
        done = document.execCommand("copy");
        area.remove();
      }
      document.getElementById("copied").textContent = done ? "copied" : "the browser does not allow copying";
    });
  }

  for (const toggle of document.querySelectorAll("button[data-toggles]")) {
    toggle.addEventListener("click", () => {
      const pressed = toggle.getAttribute("aria-pressed") !== "true";
      toggle.setAttribute("aria-pressed", String(pressed));
      for (const cell of document.querySelectorAll(`#${toggle.dataset.toggles} td[data-share]`)) {
        cell.textContent = pressed ? cell.dataset.share : cell.dataset.count;
      }
    });
  }
})();
