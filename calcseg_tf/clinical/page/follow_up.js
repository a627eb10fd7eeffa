// Two exams side by side: one threshold, one motion between them, and what became of each calcification.

const MOST_LETTERS = 80; // more in sight hide the picture

class FollowUp {
  /**
   * @param main Holds both exams and what is said of both.
   * @param data What Python found: see `comparison_data`.
   * @param prior The exam before.
   * @param current The exam after.
   */
  constructor(main, data, prior, current) {
    this.main = main;
    this.data = data;
    this.exams = { prior, current };
    this.linked = data.aligned !== null;
    this.busy = false; // while one exam follows the other
    this.table = new SortedTable(this.find(".changes table"), "change", (number) => this.choose(number));
    this.statuses = new Map(data.statuses.map((status) => [status.name, status]));
    for (const side of ["prior", "current"]) this.connect(side);
    const link = this.find("input[name=link]");
    link.disabled = !data.aligned;
    link.checked = this.linked;
    link.addEventListener("change", () => this.link(link.checked));
    main.addEventListener("keydown", (event) => this.key(event));
    this.setStep(prior.at);
    this.setOpacity(Number(prior.input("opacity").value));
    if (!this.linked) prior.showOutline(data.regions.prior);
    current.showOutline(data.regions.current);
  }

  find(selector) {
    return this.main.querySelector(selector);
  }

  connect(side) {
    const exam = this.exams[side];
    exam.hands = {
      step: (at) => this.setStep(at),
      opacity: (percent) => this.setOpacity(percent),
      select: (id, show) => this.selected(side, id, show),
      hover: (place) => this.hover(side, place),
      statusOf: (id) => this.changeOf[side].get(id),
    };
    exam.further = (rows) => this.further(rows);
    exam.viewer.onMove = () => this.follow(side);
    exam.viewer.layers.push((context, viewer) => this.drawOver(context, viewer, side));
  }

  other(side) {
    return side === "prior" ? "current" : "prior";
  }

  get changes() {
    return this.step.changes ?? [];
  }

  // Threshold

  /** Shows both exams at a step; the second one of them calls back. */
  setStep(at) {
    if (this.busy) return;
    this.busy = true;
    for (const exam of Object.values(this.exams)) if (exam.at !== at) exam.setStep(at);
    this.busy = false;
    this.step = this.data.steps[this.exams.prior.at];
    this.changeOf = { prior: new Map(), current: new Map() };
    this.changes.forEach((change, i) => {
      for (const side of ["prior", "current"]) if (change[side] !== null) this.changeOf[side].set(change[side], i + 1);
    });
    this.fillTable();
    this.fillLegend();
    this.table.fill(this.changes.map((_, i) => i + 1), this.columns());
    this.find(".reason").textContent = this.step.reason;
    for (const exam of Object.values(this.exams)) exam.viewer.invalidate();
  }

  setOpacity(percent) {
    if (this.busy) return;
    this.busy = true;
    for (const exam of Object.values(this.exams)) if (exam.input("opacity").value !== String(percent)) exam.setOpacity(percent);
    this.busy = false;
  }

  columns() {
    const mm = this.data.unit === "mm";
    const key = mm ? "area_mm2" : "area_px";
    const [unit, digits] = mm ? ["mm²", 4] : ["px", 0];
    const change = (name) => (at) => this.changes[at][name];
    const area = (side) => (at) => (this.changes[at][side] === null ? null : this.exams[side].step[key][this.changes[at][side] - 1]);
    return [
      ["id", "No.", (at) => at + 1, 0],
      ["status", "What became of it", (at) => this.statuses.get(this.changes[at].status).text, null],
      ["prior", "No. in the prior exam", change("prior"), 0],
      ["current", "No. in the current exam", change("current"), 0],
      ["prior_area", `Prior area, ${unit}`, area("prior"), digits],
      ["current_area", `Current area, ${unit}`, area("current"), digits],
      ["ratio", "Current / prior area", change("area_ratio"), 2],
      ["distance", `Apart, ${this.data.unit}`, change("distance"), 2],
    ];
  }

  fillTable() {
    const rows = this.step.table.map(([name, digits, prior, current, difference]) => {
      const row = make("tr", null);
      const signed = difference !== null && difference > 0 ? "+" : "";
      row.append(make("th", name, { scope: "row" }),
        ...[fixed(prior, digits), fixed(current, digits), signed + fixed(difference, digits)].map((text) => make("td", text)));
      return row;
    });
    this.find(".table tbody").replaceChildren(...rows);
  }

  fillLegend() {
    const items = this.data.statuses.map((status) => {
      const item = make("li", null);
      const sign = make("canvas", null, { width: 44, height: 44, "aria-hidden": "true" });
      const context = sign.getContext("2d");
      context.scale(2, 2);
      drawShape(context, status, 11, 11, 7);
      const count = this.step.counts ? this.step.counts[status.name] : "–";
      item.append(sign, make("span", `${status.text}: ${count}`));
      return item;
    });
    this.find(".legend").replaceChildren(...items);
  }

  // Motion

  link(linked) {
    this.linked = linked;
    this.follow("current");
  }

  /** Returns where a place of one exam is in the other. */
  carry(side, [row, column]) {
    const { matrix: [[a, b], [c, d]], offset: [down, right] } = this.data.aligned;
    if (side === "prior") return [a * row + b * column + down, c * row + d * column + right];
    const [y, x] = [row - down, column - right];
    const determinant = a * d - b * c;
    return [(d * y - b * x) / determinant, (a * x - c * y) / determinant];
  }

  /** Moves the other exam to where this one is. */
  follow(side) {
    if (!this.linked || this.busy) return;
    this.busy = true;
    const [from, to] = [this.exams[side].viewer, this.exams[this.other(side)].viewer];
    const { zoom } = this.data.aligned;
    to.centreOn(...this.carry(side, from.centre()), side === "current" ? from.scale * zoom : from.scale / zoom);
    this.busy = false;
  }

  hover(side, place) {
    this.cursor = place && this.data.aligned ? { side: this.other(side), place: this.carry(side, place) } : null;
    this.exams[this.other(side)].viewer.invalidate();
  }

  // Selection

  /** Takes a row of the table of changes: both exams show it. */
  choose(number) {
    if (number === null) return;
    const side = this.changes[number - 1].current === null ? "prior" : "current";
    this.exams[side].select(this.changes[number - 1][side], true);
  }

  further(rows) {
    this.choose(this.table.further(rows));
  }

  /** Takes a calcification that was chosen in one exam, and shows its partner, or its place, in the other. */
  selected(side, id, show) {
    const number = this.changeOf[side].get(id) ?? null;
    this.table.select(number);
    const exam = this.exams[this.other(side)];
    if (number === null) return exam.mark(null);
    const change = this.changes[number - 1];
    const partner = change[this.other(side)];
    const place = change.places[this.other(side)];
    const told = change.status === "uncovered" ? "not compared here" : "not found here";
    exam.mark(partner, partner === null ? place : null, told);
    const area = partner === null ? this.exams[side].step.area_px[id - 1] : exam.step.area_px[partner - 1];
    if (!this.linked && (show || !isInSight(exam.viewer, place))) exam.lookAt(...place, area);
  }

  // Keys

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "text") return;
    const inExam = event.target.closest(".exam") !== null; // which has these keys of its own
    const keys = {
      l: () => !this.find("input[name=link]").disabled && this.find("input[name=link]").click(),
      ...(inExam ? {} : { n: () => this.further(1), b: () => this.further(-1) }),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }

  // Drawing

  drawOver(context, viewer, side) {
    const exam = this.exams[side];
    stroked(context, 1.6, () => polygon(context, viewer, this.data.regions[side], true), [12, 4, 3, 4]);
    const top = this.data.regions[side].reduce((a, b) => (b[0] < a[0] ? b : a));
    const [x, y] = viewer.toScreen(...top);
    labelled(context, viewer, "Region", x + 4, y - 6);
    if (exam.marks) this.drawChanges(context, viewer, side);
    if (this.cursor?.side === side) drawCross(context, ...viewer.toScreen(...this.cursor.place));
  }

  drawChanges(context, viewer, side) {
    const { step } = this.exams[side];
    const found = inSight(viewer, step).filter((i) => this.changeOf[side].has(i + 1));
    for (const i of found) {
      const status = this.statuses.get(this.changes[this.changeOf[side].get(i + 1) - 1].status);
      const [x, y] = viewer.toScreen(step.row[i], step.column[i]);
      const radius = markRadius(viewer, step, i);
      drawShape(context, status, x, y, radius);
      if (found.length <= MOST_LETTERS) written(context, status.letter, x + radius * 0.8 + 2, y - radius * 0.8);
    }
  }
}

function isInSight(viewer, place) {
  const [x, y] = viewer.toScreen(...place);
  return x >= 0 && x < viewer.width && y >= 0 && y < viewer.height;
}

const SHAPES = {
  triangle: [[0, -1.2], [1.05, 0.7], [-1.05, 0.7]],
  diamond: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
};

/** Draws the shape of a status around a place, in its colour between black lines. */
function drawShape(context, { shape, colour }, x, y, radius) {
  context.lineJoin = "round";
  for (const [style, width] of [["#000", 4.4], [colour, 2.2]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    if (shape === "circle") context.arc(x, y, radius, 0, 2 * Math.PI);
    else if (shape === "cross") {
      for (const side of [-1, 1]) {
        context.moveTo(x - radius, y - side * radius);
        context.lineTo(x + radius, y + side * radius);
      }
    } else {
      SHAPES[shape].forEach(([right, down]) => context.lineTo(x + right * radius, y + down * radius));
      context.closePath();
    }
    context.stroke();
  }
}

function drawCross(context, x, y) {
  stroked(context, 1.4, () => {
    for (const [right, down] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 3 * right, y + 3 * down);
      context.lineTo(x + 10 * right, y + 10 * down);
    }
  });
}
