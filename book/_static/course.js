// What scrolls sideways must be reachable with the keyboard: give it a tab stop and, where it lacks one, a name.
"use strict";

const SCROLLERS = {
  "div.math": "Equation",
  ".table-scroll": "Table",
  "div.cell_output .output": "Output of the cell",
};

function wrapTables() {
  for (const table of document.querySelectorAll(".bd-article table")) {
    if (table.closest(".table-scroll, .cell_output")) continue;
    const box = document.createElement("div");
    box.className = "table-scroll";
    table.before(box);
    box.append(table);
  }
}

function markScrollers() {
  for (const [selector, name] of Object.entries(SCROLLERS)) {
    for (const box of document.querySelectorAll(selector)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1;
      box.classList.toggle("scrolls", scrolls);
      if (scrolls) {
        box.tabIndex = 0;
        box.setAttribute("role", "region");
        if (!box.hasAttribute("aria-label")) box.setAttribute("aria-label", name);
      } else if (box.getAttribute("role") === "region") {
        box.removeAttribute("tabindex");
        box.removeAttribute("role");
        box.removeAttribute("aria-label");
      }
    }
  }
}

document.addEventListener("DOMContentLoaded", () => {
  wrapTables();
  markScrollers();
  window.addEventListener("resize", markScrollers);
  window.addEventListener("load", () => {
    const typeset = window.MathJax && window.MathJax.startup && window.MathJax.startup.promise;
    if (typeset) typeset.then(markScrollers);
  });
});
