// The table of records: sorted, filtered, and shown a page at a time. Cells are text, never markup. What is chosen stands in
// the address behind "#?", so that it can be passed on.
(() => {
  "use strict";
  const ROWS = 50;
  const CHOICES = 200;
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("records");
  const body = table.tBodies[0];
  const search = document.getElementById("search");
  const different = document.getElementById("different");
  const sorter = document.getElementById("sort");
  const collator = new Intl.Collator("en", { numeric: true });
  const filters = new Map();
  const corpusOrder = Array.from({ length: data.rows }, (_, row) => row);
  let order = corpusOrder;
  let sorted = null;
  let shown = order;
  let page = 0;

  const isWords = (column) => column.words !== undefined;
  const change = data.columns.find((column) => column.name === "change");
  const format = (value, decimals) =>
    value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  const cell = (column, row) => {
    if (isWords(column)) return column.words[column.codes[row]];
    const value = column.values[row];
    return value === null ? "" : format(value, column.decimals);
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

  const setSort = (place, down) => {
    sorted = place < 0 || place >= data.columns.length ? null : { place, down };
    order = [...corpusOrder];
    if (sorted !== null) {
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
    }
    [...table.tHead.rows[0].cells].forEach((head, index) => {
      if (sorted !== null && index === place) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    sorter.value = sorted === null ? "" : `${data.columns[place].name}${down ? " ↓" : ""}`;
  };

  const sort = (place) => {
    setSort(place, sorted !== null && sorted.place === place && !sorted.down);
    filter();
  };

  const filter = () => {
    const wanted = [...filters].filter(([, select]) => select.value !== "");
    const chosen = wanted.map(([column, select]) => [column.codes, Number(select.value)]);
    const text = search.value.trim().toLowerCase();
    const hits = text === "" ? null : data.columns.filter(isWords).map((column) =>
      [column.codes, column.words.map((word) => word.toLowerCase().includes(text))]);
    const same = different !== null && different.checked && change !== undefined ? change.words.indexOf("same") : -1;
    shown = order.filter((row) =>
      (same < 0 || change.codes[row] !== same) &&
      chosen.every(([codes, code]) => codes[row] === code) &&
      (hits === null || hits.some(([codes, hit]) => hit[codes[row]])));
    page = 0;
    show();
    keep();
  };

  const show = () => {
    const pages = Math.max(1, Math.ceil(shown.length / ROWS));
    page = Math.min(Math.max(page, 0), pages - 1);
    const rows = shown.slice(page * ROWS, (page + 1) * ROWS).map((row) => {
      const line = document.createElement("tr");
      for (const column of data.columns) {
        const td = document.createElement("td");
        td.textContent = cell(column, row);
        td.dataset.label = column.name;
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

  // The address: what is chosen by its words, which stay when the report is made again.
  const keep = () => {
    const chosen = new URLSearchParams();
    if (search.value.trim() !== "") chosen.set("q", search.value.trim());
    if (different !== null && different.checked) chosen.set("different", "1");
    for (const [column, select] of filters) {
      if (select.value !== "") chosen.set(column.name, column.words[Number(select.value)]);
    }
    if (sorted !== null) chosen.set("sort", `${sorted.down ? "-" : ""}${data.columns[sorted.place].name}`);
    const text = chosen.toString();
    if (text === "" && !location.hash.startsWith("#?")) return;
    const address = text === "" ? location.pathname + location.search : `#?${text}`;
    try { history.replaceState(null, "", address); } catch { /* A page in a sandbox keeps its address. */ }
  };

  const restore = () => {
    if (!location.hash.startsWith("#?")) return false;
    const chosen = new URLSearchParams(location.hash.slice(2));
    search.value = chosen.get("q") ?? "";
    if (different !== null) different.checked = chosen.get("different") === "1";
    for (const [column, select] of filters) {
      const place = chosen.has(column.name) ? column.words.indexOf(chosen.get(column.name)) : -1;
      select.value = place < 0 ? "" : String(place);
    }
    const by = chosen.get("sort") ?? "";
    const down = by.startsWith("-");
    setSort(data.columns.findIndex((column) => column.name === (down ? by.slice(1) : by)), down);
    filter();
    return true;
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
  sorter.append(new Option("the corpus", ""));
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
    sorter.append(new Option(column.name), new Option(`${column.name} ↓`));
  });
  sorter.addEventListener("change", () => {
    const at = sorter.selectedIndex - 1;
    setSort(at < 0 ? -1 : Math.floor(at / 2), at % 2 === 1);
    filter();
  });
  const slot = document.getElementById("clear");
  const long = ["record", "object", "manifest", "reason", "reason before", "reason after"];
  for (const column of data.columns) {
    const some = isWords(column) && column.words.length > 1 && column.words.length <= CHOICES;
    if (some && !long.includes(column.name)) slot.before(choices(column));
  }
  search.addEventListener("input", filter);
  if (different !== null) different.addEventListener("change", filter);
  slot.addEventListener("click", () => {
    search.value = "";
    if (different !== null) different.checked = false;
    filters.forEach((select) => { select.value = ""; });
    filter();
  });
  const turn = (id, to) => document.getElementById(id).addEventListener("click", () => { page = to(); show(); });
  turn("first", () => 0);
  turn("before", () => page - 1);
  turn("next", () => page + 1);
  turn("last", () => Infinity);
  show();
  const toRecords = () => document.getElementById("records-title").scrollIntoView();
  if (restore()) toRecords();
  addEventListener("hashchange", () => { if (restore()) toRecords(); });

  // What is wider than its place says so.
  const boxes = [...document.querySelectorAll(".scroll, .drawing")];
  const measure = () => {
    const wide = boxes.map((box) => box.scrollWidth > box.clientWidth + 1);
    boxes.forEach((box, place) => box.classList.toggle("wide", wide[place]));
  };
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
  measure();
  addEventListener("resize", measure);
  document.querySelectorAll("details").forEach((details) => details.addEventListener("toggle", measure));
})();
