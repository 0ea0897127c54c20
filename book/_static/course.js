// Makes the pages easier to use without a mouse or without sight.
"use strict";

// What scrolls sideways must be reachable with the keyboard: it gets a tab stop and a name.
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

// Some labels say less than what is shown; without them the text itself is the name.
function nameButtons() {
  for (const summary of document.querySelectorAll("summary[aria-label]")) summary.removeAttribute("aria-label");
  for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
  for (const button of document.querySelectorAll(".theme-switch-button")) {
    button.setAttribute("aria-label", "Colour mode: Light, Dark or System Settings");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  nameButtons();
  wrapTables();
  markScrollers();
  window.addEventListener("resize", markScrollers);
  window.addEventListener("load", () => {
    const typeset = window.MathJax && window.MathJax.startup && window.MathJax.startup.promise;
    if (typeset) typeset.then(markScrollers);
  });
});
