// The table of records: sorted, filtered, and shown a page at a time. Cells are text, never markup.
(() => {
  "use strict";
  const ROWS = 50;
  const CHOICES = 200;
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("records");
  const body = table.tBodies[0];
  const collator = new Intl.Collator("en", { numeric: true });
  const filters = new Map();
  let order = Array.from({ length: data.rows }, (_, row) => row);
  let sorted = null;
  let shown = order;
  let page = 0;

  const isWords = (column) => column.words !== undefined;
  const cell = (column, row) => {
    if (isWords(column)) return column.words[column.codes[row]];
    const value = column.values[row];
    return value === null ? "" : value.toFixed(column.decimals);
  };

  // Words are put in order once; rows are then compared by whole numbers.
  const keys = (column) => {
    if (!isWords(column)) return column.values;
    if (column.ranks === undefined) {
      const places = column.words.map((_, place) => place);
      places.sort((a, b) => collator.compare(column.words[a], column.words[b]));
      column.ranks = new Array(places.length);
      places.forEach((place, rank) => { column.ranks[place] = rank; });
    }
    return column.codes.map((code) => column.ranks[code]);
  };

  const sort = (place) => {
    const down = sorted !== null && sorted.place === place && !sorted.down;
    sorted = { place, down };
    const key = keys(data.columns[place]);
    const sign = down ? -1 : 1;
    // What has no value comes last, whichever way.
    order.sort((a, b) => {
      const [x, y] = [key[a], key[b]];
      if (x === y) return a - b;
      if (x === null) return 1;
      if (y === null) return -1;
      return x < y ? -sign : sign;
    });
    [...table.tHead.rows[0].cells].forEach((head, index) => {
      if (index === place) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    filter();
  };

  const filter = () => {
    const wanted = [...filters].filter(([, select]) => select.value !== "");
    const chosen = wanted.map(([column, select]) => [column.codes, Number(select.value)]);
    const text = document.getElementById("search").value.trim().toLowerCase();
    const hits = text === "" ? null : data.columns.filter(isWords).map((column) =>
      [column.codes, column.words.map((word) => word.toLowerCase().includes(text))]);
    shown = order.filter((row) =>
      chosen.every(([codes, code]) => codes[row] === code) &&
      (hits === null || hits.some(([codes, hit]) => hit[codes[row]])));
    page = 0;
    show();
  };

  const show = () => {
    const pages = Math.max(1, Math.ceil(shown.length / ROWS));
    page = Math.min(Math.max(page, 0), pages - 1);
    const rows = shown.slice(page * ROWS, (page + 1) * ROWS).map((row) => {
      const line = document.createElement("tr");
      for (const column of data.columns) {
        const td = document.createElement("td");
        td.textContent = cell(column, row);
        if (isWords(column)) td.className = "w";
        line.append(td);
      }
      return line;
    });
    body.replaceChildren(...rows);
    const from = shown.length === 0 ? 0 : page * ROWS + 1;
    const to = Math.min(shown.length, (page + 1) * ROWS);
    const number = (n) => n.toLocaleString("en");
    document.getElementById("shown").textContent =
      `Rows ${number(from)}–${number(to)} of ${number(shown.length)} (of ${number(data.rows)} records)`;
    document.getElementById("first").disabled = document.getElementById("before").disabled = page === 0;
    document.getElementById("next").disabled = document.getElementById("last").disabled = page === pages - 1;
  };

  const choices = (column) => {
    const label = document.createElement("label");
    label.textContent = column.name;
    const select = document.createElement("select");
    select.append(new Option("any", ""));
    column.words
      .map((word, place) => [word === "" ? "(none)" : word, place])
      .sort((a, b) => collator.compare(a[0], b[0]))
      .forEach(([word, place]) => select.append(new Option(word, place)));
    select.addEventListener("change", filter);
    label.append(select);
    filters.set(column, select);
    return label;
  };

  const head = table.tHead.insertRow();
  data.columns.forEach((column, place) => {
    const th = document.createElement("th");
    th.scope = "col";
    if (isWords(column)) th.className = "w";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.name;
    button.addEventListener("click", () => sort(place));
    th.append(button);
    head.append(th);
  });
  const slot = document.getElementById("clear");
  for (const column of data.columns) {
    const some = isWords(column) && column.words.length > 1 && column.words.length <= CHOICES;
    if (some && !["record", "object", "manifest", "reason"].includes(column.name)) slot.before(choices(column));
  }
  document.getElementById("search").addEventListener("input", filter);
  document.getElementById("clear").addEventListener("click", () => {
    document.getElementById("search").value = "";
    filters.forEach((select) => { select.value = ""; });
    filter();
  });
  const turn = (id, to) => document.getElementById(id).addEventListener("click", () => { page = to(); show(); });
  turn("first", () => 0);
  turn("before", () => page - 1);
  turn("next", () => page + 1);
  turn("last", () => Infinity);
  show();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
})();
