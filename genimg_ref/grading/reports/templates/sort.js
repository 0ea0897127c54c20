for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const up = head.ariaSort !== "ascending";
      const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
      const order = (a, b) => key(a).localeCompare(key(b), "en", {numeric: true}) * (up ? 1 : -1);
      heads.forEach(other => other.ariaSort = null);
      head.ariaSort = up ? "ascending" : "descending";
      body.append(...[...body.rows].sort(order));
    };
  });
}
