"use strict";
/* A click on the head of a column sorts by it. */
for (const table of document.querySelectorAll(".sortable")) {
  table.classList.add("live");
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    head.onclick = () => {
      const up = head.getAttribute("aria-sort") === "descending";
      const key = row => row.cells[column].textContent.trim().replace("−", "-").replaceAll(",", "");
      const isNumber = head.classList.contains("number");
      const number = row => { const found = parseFloat(key(row)); return isNaN(found) ? -1e99 : found; };
      const order = (a, b) => isNumber ? number(a) - number(b)
        : key(a).localeCompare(key(b), "en", { numeric: true });
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      body.append(...[...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)));
    };
  });
}
