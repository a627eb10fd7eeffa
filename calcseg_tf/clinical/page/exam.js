// One mammogram of the page: ties picture, controls, tables and region together.

const CLOSE_UP = 6; // screen pixels an image pixel, at which a calcification is shown

// Whom an exam tells what happens to it: its step, its opacity, the calcification chosen, where the pointer is.
const ALONE = { step() {}, opacity() {}, select() {}, hover() {}, statusOf: () => undefined };

class Exam {
  constructor(root, data, image, map) {
    this.root = root;
    this.data = data;
    this.mm = data.spacing_mm !== null;
    this.viewer = new Viewer(this.find("canvas"), image, map, data);
    this.table = new SortedTable(this.find(".panel .wide table"), "calcification", (id) => this.select(id, true));
    this.hands = ALONE;
    this.pointed = null; // { place, told }: where the other exam has a calcification, and what that means here
    this.marks = true;
    this.region = { corners: [], closed: false };
    this.tool = "move";
    this.viewer.layers.push((context, viewer) => this.drawOver(context, viewer));
    this.pointer = new Pointer(this.viewer, {
      tool: () => this.tool,
      select: (row, column, reach) => this.selectNear(row, column, reach),
      region: (corners, closed) => this.drawn(corners, closed),
      window: (dx, dy) => this.shiftWindow(dx * 4, dy * 4),
      hover: (row, column) => this.hover(row, column),
      leave: () => this.hands.hover(null),
    });
    this.connect();
    this.setTool("move");
    this.resetWindow();
    this.setStep(data.operating);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  input(name) {
    return this.find(`input[name=${name}]`);
  }

  connect() {
    const on = (name, kind, handle) => this.input(name).addEventListener(kind, (event) => handle(event.target.value));
    this.input("threshold").max = this.data.steps.length - 1;
    on("threshold", "input", (value) => this.setStep(Number(value)));
    on("opacity", "input", (value) => this.setOpacity(Number(value)));
    this.input("level").max = this.data.full_scale;
    this.input("width").max = this.data.full_scale;
    for (const name of ["level", "width"]) on(name, "input", () => this.setWindow(Number(this.input("level").value), Number(this.input("width").value)));
    on("region", "input", (text) => this.typed(text));
    this.find(".reset").addEventListener("click", () => this.resetWindow());
    for (const button of this.root.querySelectorAll("[data-tool]"))
      button.addEventListener("click", () => this.setTool(button.dataset.tool));
    for (const button of this.root.querySelectorAll("[data-zoom]"))
      button.addEventListener("click", () => this.zoom(button.dataset.zoom));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.setOpacity(60);
  }

  // Threshold

  get step() {
    return this.data.steps[this.at];
  }

  setStep(at) {
    this.at = Math.min(Math.max(at, 0), this.data.steps.length - 1);
    const { statistics, listed } = this.step;
    const told = Number(statistics.threshold.toPrecision(10)) + (this.at === this.data.operating ? " (operating threshold)" : "");
    this.tell("threshold", this.at, `p ≥ ${told}`);
    const focused = this.find(".details")?.contains(document.activeElement) && document.activeElement.closest("table, .clusters");
    fillList(this.find(".figures"), figuresOf(statistics));
    fillSizes(this.find(".sizes"), statistics.size_histogram);
    fillClusters(this.find(".clusters"), statistics.clusters, this.step.clusters_reason, ({ hull }) => this.showOutline(hull));
    this.table.fill(listed, calcificationColumns(this.step, this.mm));
    this.selected = this.pointed = null;
    const few = listed.length < statistics.count;
    const left = this.data.left_out
      ? ` Thresholds that find more than ${this.data.most_calcifications} in an image, and all below them, are not offered, but for the operating one.` : "";
    this.find(".listed").textContent =
      (statistics.count === 0 ? "No calcification at this threshold."
        : few ? `The ${listed.length} of highest probability of ${statistics.count} are listed; figures and regions count all.`
          : `${listed.length} listed.`) + left;
    this.measure();
    this.viewer.invalidate();
    this.hands.step(this.at);
    // Rows and clusters are made anew: who was on one of their buttons is not left without a key.
    if (focused) this.viewer.canvas.focus({ preventScroll: true });
  }

  /** Sets a slider and says its value beside it and to who cannot see it. */
  tell(name, value, text) {
    const input = this.input(name);
    input.value = value;
    input.setAttribute("aria-valuetext", text);
    input.parentElement.querySelector("output").textContent = text;
  }

  // Display

  setOpacity(percent) {
    this.tell("opacity", percent, `${percent} %`);
    this.viewer.setOpacity(percent / 100);
    this.hands.opacity(percent);
  }

  setWindow(level, width) {
    const most = this.data.full_scale;
    this.level = Math.min(Math.max(level, 0), most);
    this.wide = Math.min(Math.max(width, 1), most);
    this.tell("level", this.level, `${Math.round(this.level)} of ${most}`);
    this.tell("width", this.wide, `${Math.round(this.wide)} of ${most}`);
    this.viewer.setWindow(this.level - this.wide / 2, this.level + this.wide / 2);
  }

  shiftWindow(wider, brighter) {
    this.setWindow(this.level + brighter, this.wide + wider);
  }

  resetWindow() {
    const [low, high] = this.data.window;
    this.setWindow((low + high) / 2, high - low);
  }

  setTool(tool) {
    this.tool = tool;
    this.viewer.canvas.dataset.tool = tool;
    if (tool === "rectangle") this.pointer.forget(); // an open polygon outlives a look around
    for (const button of this.root.querySelectorAll("[data-tool]"))
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }

  zoom(how) {
    if (how === "fit") this.viewer.fit();
    else if (how === "one") this.viewer.zoom(1 / this.viewer.density / this.viewer.scale);
    else this.viewer.zoom(how === "in" ? 1.25 : 0.8);
  }

  hover(row, column) {
    const [r, c] = [Math.round(row), Math.round(column)];
    const { height, width } = this.data;
    const within = r >= 0 && r < height && c >= 0 && c < width;
    const at = r * width + c;
    const code = within ? this.viewer.map.pixels[at] : 0;
    this.find(".cursor").textContent = !within ? "" : `row ${r}, column ${c}: grey value ${this.viewer.image.pixels[at]}, ` +
      (code ? `p = ${fixed(code / 65535, 4)}` : "p below the lowest shown");
    this.hands.hover([row, column]);
  }

  // Selection

  select(id, show) {
    if (id === null) return;
    this.mark(id);
    if (show) {
      this.lookAt(this.step.row[id - 1], this.step.column[id - 1], this.step.area_px[id - 1]);
      this.viewer.canvas.scrollIntoView({ block: "nearest" });
    }
    this.hands.select(id, show);
  }

  /** Marks a calcification, or with null none, and perhaps a place that has none, with what is told of it. */
  mark(id, place = null, told = "") {
    this.selected = id;
    this.pointed = place && { place, told };
    this.table.select(id);
    this.viewer.invalidate();
  }

  /** Shows a place as close as a small calcification needs, as far as a large one. */
  lookAt(row, column, area) {
    const { width, height, scale } = this.viewer;
    const whole = Math.min(width, height) / (6 * Math.sqrt(area / Math.PI));
    this.viewer.centreOn(row, column, Math.min(Math.max(scale, CLOSE_UP), whole));
  }

  /** Selects the next calcification of the table, or the one before. */
  further(rows) {
    this.select(this.table.further(rows), true);
  }

  /** Selects the nearest calcification whose edge is within reach, in columns of the image. */
  selectNear(row, column, reach) {
    const step = this.step;
    let [best, nearest] = [null, Infinity];
    for (let i = 0; i < step.row.length; i++) {
      const distance = Math.hypot((step.row[i] - row) * this.viewer.tall, step.column[i] - column);
      if (distance < nearest && distance - Math.sqrt(step.area_px[i] / Math.PI) <= reach) [best, nearest] = [i + 1, distance];
    }
    this.select(best, false);
  }

  /** Shows all of an outline. */
  showOutline(corners) {
    const range = (axis) => [Math.min(...corners.map((each) => each[axis])), Math.max(...corners.map((each) => each[axis]))];
    const [[top, bottom], [left, right]] = [range(0), range(1)];
    const { width, height, tall } = this.viewer;
    const scale = 0.8 * Math.min(width / (right - left + 1), height / tall / (bottom - top + 1));
    this.viewer.centreOn((top + bottom) / 2, (left + right) / 2, Math.min(scale, MOST_ZOOM));
    this.viewer.canvas.scrollIntoView({ block: "nearest" });
  }

  // Region

  drawn(corners, closed) {
    this.input("region").value = corners.map((corner) => corner.join(",")).join(" ");
    if (closed) this.typed(this.input("region").value);
    else {
      this.region = { corners, closed };
      this.wrong = corners.length ? "Enter or a double click closes the polygon." : "";
      this.measure();
      this.viewer.invalidate();
    }
  }

  typed(text) {
    this.region = { corners: [], closed: false };
    this.wrong = "";
    if (text.trim()) {
      try {
        this.region = { corners: parseRegion(text), closed: true };
        if (isOutside(this.region.corners, this.data.height, this.data.width)) throw new Error("the region lies outside the image");
      } catch (error) {
        this.wrong = error.message;
        this.region.closed = false;
      }
    }
    this.measure();
    this.viewer.invalidate();
  }

  measure() {
    const place = this.find(".measured");
    if (!this.region.closed) return place.replaceChildren(make("p", this.wrong || "No region."));
    const found = measureRegion(this.step, this.region.corners, this.data.spacing_mm);
    const list = make("dl", null);
    const corners = this.region.corners.map((corner) => corner.join(",")).join(" ");
    fillList(list, [["Corners (row,column)", corners], ["Calcifications", String(found.count)], ...areasOf(found, this.mm)]);
    place.replaceChildren(list);
  }

  clear() {
    this.pointer.forget();
    this.input("region").value = "";
    this.typed("");
    this.mark(null);
    this.hands.select(null, false);
  }

  // Keys

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const kind = event.target.tagName === "INPUT" ? event.target.type : "";
    if (kind === "text" && event.key !== "Escape") return;
    const onCanvas = event.target === this.viewer.canvas;
    const step = 60;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const keys = {
      "+": () => this.zoom("in"), "=": () => this.zoom("in"), "-": () => this.zoom("out"),
      0: () => this.zoom("fit"), 1: () => this.zoom("one"),
      "[": () => this.setStep(this.at - 1), "]": () => this.setStep(this.at + 1),
      n: () => this.further(1), b: () => this.further(-1),
      h: () => this.toggleHeat(), m: () => this.toggleMarks(),
      v: () => this.setTool("move"), r: () => this.setTool("rectangle"),
      p: () => this.setTool("polygon"), w: () => this.setTool("window"),
      Escape: () => this.clear(),
      ...(onCanvas ? { Enter: () => this.pointer.close(), Backspace: () => this.pointer.takeBack() } : {}),
    };
    const act = onCanvas && moves[event.key] ? () => this.viewer.move(...moves[event.key]) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  toggleHeat() {
    const shown = Number(this.input("opacity").value);
    if (shown) this.lastOpacity = shown;
    this.setOpacity(shown ? 0 : (this.lastOpacity ?? 60));
  }

  toggleMarks() {
    this.marks = !this.marks;
    this.viewer.invalidate();
  }

  drawOver(context, viewer) {
    if (this.marks) {
      drawCalcifications(context, viewer, this.step, (id) => this.hands.statusOf(id));
      drawClusters(context, viewer, this.step.statistics.clusters);
    }
    if (this.selected !== null) drawSelected(context, viewer, this.step, this.selected);
    if (this.pointed !== null) drawPointed(context, viewer, this.pointed);
    drawRegion(context, viewer, this.region.corners, this.region.closed);
    drawScale(context, viewer, this.data.spacing_mm);
  }
}
