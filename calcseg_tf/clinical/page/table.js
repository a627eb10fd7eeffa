// Figures as text and as tables. Every number is rounded here and nowhere else, half away from zero.

const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

/** Returns [name, text] of each figure of an image at a threshold. */
function figuresOf(statistics) {
  const mm = statistics.pixel_spacing_mm !== null;
  const nearest = mm ? statistics.nearest_neighbour_mm : statistics.nearest_neighbour_px;
  const figures = [["Calcifications", String(statistics.count)]];
  if (mm) figures.push(["Micro / macro", `${statistics.micro_count} / ${statistics.macro_count}`]);
  figures.push(...areasOf(statistics, mm));
  figures.push(["Clusters", statistics.clusters ? String(statistics.clusters.length) : "–"]);
  figures.push(["Extent", withUnit(mm ? statistics.extent_mm : statistics.extent_px, 1, mm ? "mm" : "px")]);
  figures.push(["Nearest neighbour, mean", withUnit(nearest ? nearest.mean : null, 2, mm ? "mm" : "px")]);
  if (mm) figures.push(["Density", withUnit(statistics.density_per_cm2, 2, "per cm² of breast")]);
  return figures;
}

/** Returns mean and standard deviation of the areas, in mm² where the spacing is known. */
function areasOf(statistics, mm) {
  const [unit, digits] = mm ? ["mm²", 4] : ["px", 2];
  const key = mm ? "mm2" : "px";
  return [
    ["Mean area", withUnit(statistics[`mean_area_${key}`], digits, unit)],
    ["STD of the areas (n − 1)", withUnit(statistics[`std_area_${key}`], digits, unit)],
  ];
}

function withUnit(value, digits, unit) {
  return value === null ? "–" : `${fixed(value, digits)} ${unit}`;
}

function make(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function fillList(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, text]) => [make("dt", name), make("dd", text)]));
}

/** Fills in how many calcifications have which equivalent diameter, as numbers and bars, up to the largest there is. */
function fillSizes(place, { unit, edges, counts }) {
  const shown = counts.findLastIndex((count) => count > 0) + 1;
  if (!shown) return place.replaceChildren();
  const table = make("table", null);
  table.append(make("caption", "Calcifications by equivalent diameter"), make("tbody", null));
  const most = Math.max(...counts);
  for (let i = 0; i < shown; i++) {
    const size = i + 1 < edges.length ? `${edges[i]} to ${edges[i + 1]} ${unit}` : `${edges[i]} ${unit} and more`;
    const bar = make("div", null, { "aria-hidden": "true" });
    bar.style.width = counts[i] ? `max(1px, ${(100 * counts[i]) / most}%)` : "0";
    const cell = make("td", null);
    cell.append(bar);
    const row = table.tBodies[0].insertRow();
    row.append(make("th", size, { scope: "row" }), make("td", String(counts[i])), cell);
  }
  place.replaceChildren(table);
}

const CLUSTER_COLUMNS = [
  ["Cluster", (c) => String(c.id)],
  ["Count", (c) => String(c.count)],
  ["Distribution", (c) => c.distribution],
  ["Mean area, mm²", (c) => fixed(c.mean_area_mm2, 4)],
  ["STD (n − 1)", (c) => fixed(c.std_area_mm2, 4)],
  ["Extent, mm", (c) => fixed(c.extent_mm, 1)],
  ["Nearest, mm", (c) => fixed(c.nearest_neighbour_mm?.mean, 2)],
  ["Per cm²", (c) => fixed(c.density_per_cm2, 2)],
];

/** Fills in a table of the clusters; a click on one shows it. */
function fillClusters(place, clusters, reason, show) {
  if (!clusters) return place.replaceChildren(make("p", `None are defined: ${reason}.`));
  if (!clusters.length) return place.replaceChildren(make("p", "None."));
  const head = make("tr", null);
  head.append(...CLUSTER_COLUMNS.map(([name]) => make("th", name, { scope: "col" })));
  const table = make("table", null);
  table.append(make("thead", null), make("tbody", null));
  table.tHead.append(head);
  for (const cluster of clusters) {
    const row = table.tBodies[0].insertRow();
    const [first, ...others] = CLUSTER_COLUMNS.map(([, text]) => text(cluster));
    const name = make("th", null, { scope: "row" });
    name.append(make("button", first, { type: "button", "aria-label": `show cluster ${first}` }));
    row.append(name, ...others.map((text) => make("td", text)));
    row.addEventListener("click", () => show(cluster));
  }
  place.replaceChildren(table);
}

/** Returns the columns of the calcifications listed at a step: [key, name, value of a row, digits or null for text]. */
function calcificationColumns(step, mm) {
  const unit = mm ? "mm" : "px";
  const detail = (name) => (at) => step.details[name][at];
  const ofAll = (name) => (at) => step[name][step.listed[at] - 1];
  return [
    ["id", "No.", (at) => step.listed[at], 0],
    ["row", "Row", ofAll("row"), 1],
    ["column", "Column", ofAll("column"), 1],
    ["area", mm ? "Area, mm²" : "Area, px", ofAll(mm ? "area_mm2" : "area_px"), mm ? 4 : 0],
    ["diameter", `Diameter, ${unit}`, detail(`equivalent_diameter_${unit}`), mm ? 3 : 2],
    ["longest", `Longest, ${unit}`, detail(`longest_diameter_${unit}`), mm ? 3 : 2],
    ["elongation", "Elongation", detail("elongation"), 2],
    ["contrast", "Contrast", detail("local_contrast"), 3],
    ["probability", "Highest p", detail("max_probability"), 4],
    ...(mm ? [["size", "Size", detail("size_class"), null], ["cluster", "Cluster", detail("cluster_id"), 0]] : []),
  ];
}

// Sorted from the least at first; numbers that tell how much begin with the most.
const ASCENDING = ["id", "row", "column", "size", "cluster", "status", "prior", "current"];

/** A table that sorts, and tells which row is chosen. */
class SortedTable {
  /**
   * @param table Its element.
   * @param what What a row is.
   * @param choose Called with the number of a row that a person chose.
   */
  constructor(table, what, choose) {
    this.table = table;
    this.what = what;
    this.choose = choose;
    this.sorted = ["id", 1];
    this.selected = null;
  }

  /**
   * @param ids Number of each row.
   * @param columns [key, name, value of the row at, digits or null for text]; the first is the number.
   */
  fill(ids, columns) {
    this.ids = ids;
    this.current = columns;
    this.selected = null;
    const head = make("tr", null);
    for (const [key, name] of this.current) {
      const cell = make("th", null, { scope: "col", "data-key": key });
      const button = make("button", name, { type: "button" });
      button.addEventListener("click", () => this.sortBy(key));
      cell.append(button);
      head.append(cell);
    }
    this.table.tHead.replaceChildren(head);
    this.rows = ids.map((id, at) => this.row(id, at));
    this.sort();
  }

  row(id, at) {
    const row = make("tr", null, { "data-id": id });
    for (const [key, , value, digits] of this.current) {
      const found = value(at);
      const text = digits === null ? (found ?? "–") : fixed(found, digits);
      if (key === "id") {
        const name = make("th", null, { scope: "row" });
        name.append(make("button", text, { type: "button", "aria-label": `show ${this.what} ${text}` }));
        row.append(name);
      } else row.append(make("td", text));
    }
    row.addEventListener("click", () => this.choose(id));
    return row;
  }

  sortBy(key) {
    const [last, direction] = this.sorted;
    this.sorted = [key, last === key ? -direction : ASCENDING.includes(key) ? 1 : -1];
    this.sort();
  }

  sort() {
    const known = this.current.find(([key]) => key === this.sorted[0]) ?? this.current[0];
    const [key, , value] = known;
    const direction = this.sorted[1];
    const places = this.ids.map((_, at) => at);
    const values = places.map((at) => value(at));
    places.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (x === y) return a - b;
      if (x === null || y === null) return x === null ? 1 : -1; // what is undefined comes last
      return (x < y ? -1 : 1) * direction;
    });
    this.order = places.map((at) => this.ids[at]);
    this.table.tBodies[0].replaceChildren(...places.map((at) => this.rows[at]));
    for (const cell of this.table.tHead.rows[0].cells) {
      const text = cell.dataset.key === key ? (direction > 0 ? "ascending" : "descending") : "none";
      cell.setAttribute("aria-sort", text);
    }
  }

  select(id) {
    this.rowOf(this.selected)?.removeAttribute("aria-current");
    this.selected = id;
    const row = this.rowOf(id);
    row?.setAttribute("aria-current", "true");
    if (row) this.reveal(row);
  }

  reveal(row) {
    // Within the table's own window: the page must not move away from the picture.
    const window = this.table.parentElement;
    const above = row.offsetTop - this.table.tHead.offsetHeight;
    const below = row.offsetTop + row.offsetHeight - window.clientHeight;
    window.scrollTop = Math.min(above, Math.max(below, window.scrollTop));
  }

  rowOf(id) {
    return this.rows[this.ids.indexOf(id)];
  }

  /** Returns the calcification so many rows further down, from the one that is selected. */
  further(rows) {
    if (!this.order.length) return null;
    const at = this.order.indexOf(this.selected);
    if (at < 0) return rows > 0 ? this.order[0] : this.order.at(-1);
    return this.order[Math.min(Math.max(at + rows, 0), this.order.length - 1)];
  }
}
