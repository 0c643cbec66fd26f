if (window.innerWidth < 1100) document.querySelector("nav details").open = false;
for (const head of document.querySelectorAll("th")) {
  const sort = () => {
    const row = head.parentNode, body = head.closest("table").tBodies[0], column = head.cellIndex;
    const down = head.ariaSort === "descending" || (!head.ariaSort && !head.classList.contains("n"));
    for (const other of row.cells) other.ariaSort = null;
    head.ariaSort = down ? "ascending" : "descending";
    const sign = down ? 1 : -1;
    const key = line => {
      const cell = line.cells[column];
      return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
    };
    const missing = value => value === "\u2013" || Number.isNaN(value);
    const compare = (one, other) => {
      const a = key(one), b = key(other);
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return sign * (typeof a === "number" && typeof b === "number"
        ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true}));
    };
    body.append(...[...body.rows].sort(compare));
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
}
