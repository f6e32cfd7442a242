
(function () {
  "use strict";
  // A missing value stays last in both directions; equal values keep the order of the page.
  function valueOf(row, column) {
    var cell = row.cells[column];
    var text = cell.hasAttribute("data-value") ? cell.getAttribute("data-value") : cell.textContent.trim();
    var numeric = text !== "" && isFinite(Number(text));
    return { missing: text === "", number: numeric ? Number(text) : null, text: text.toLowerCase() };
  }
  function compare(a, b, numeric) {
    if (numeric) { return a.number - b.number; }
    return a.text < b.text ? -1 : a.text > b.text ? 1 : 0;
  }
  function sort(table, column, direction) {
    var body = table.tBodies[0];
    var rows = Array.prototype.slice.call(body.rows).map(function (row) {
      return { row: row, value: valueOf(row, column), at: Number(row.getAttribute("data-at")) };
    });
    var numeric = rows.every(function (entry) { return entry.value.missing || entry.value.number !== null; });
    rows.sort(function (a, b) {
      if (a.value.missing !== b.value.missing) { return a.value.missing ? 1 : -1; }
      var order = a.value.missing ? 0 : compare(a.value, b.value, numeric);
      return (direction === "descending" ? -order : order) || a.at - b.at;
    });
    rows.forEach(function (entry) { body.appendChild(entry.row); });
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, n) {
      if (n === column) { head.setAttribute("aria-sort", direction); } else { head.removeAttribute("aria-sort"); }
    });
  }
  function apply() {
    var wanted = /^#sort=([a-z0-9-]+)\.(\d+)\.(ascending|descending)$/.exec(location.hash);
    var table = wanted && document.getElementById(wanted[1]);
    if (table && table.hasAttribute("data-sortable") && Number(wanted[2]) < table.tHead.rows[0].cells.length) {
      sort(table, Number(wanted[2]), wanted[3]);
    }
  }
  Array.prototype.forEach.call(document.querySelectorAll("table[data-sortable]"), function (table) {
    Array.prototype.forEach.call(table.tBodies[0].rows, function (row, n) { row.setAttribute("data-at", n); });
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      button.addEventListener("click", function () {
        var next = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        sort(table, column, next);
        location.replace("#sort=" + table.id + "." + column + "." + next);
      });
    });
  });
  window.addEventListener("hashchange", apply);
  apply();
}());
