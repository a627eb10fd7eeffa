// Mouse, pen and touch on the picture.

const CLICK_PX = 4; // a pointer that moved less was a click

class Pointer {
  /**
   * @param viewer The picture.
   * @param hands What to tell: tool() names the tool; select(row, column, reach), region(corners, closed), window(dx, dy),
   *   hover(row, column) and leave() are called.
   */
  constructor(viewer, hands) {
    this.viewer = viewer;
    this.hands = hands;
    this.down = new Map(); // pointers that are down, by id: [x, y]
    this.corners = []; // of a polygon that is not closed
    const on = (name, handle) =>
      viewer.canvas.addEventListener(name, (event) => handle.call(this, event, ...this.place(event)));
    on("pointerdown", this.press);
    on("pointermove", this.drag);
    on("pointerup", this.release);
    on("pointercancel", this.cancel);
    on("dblclick", this.close);
    viewer.canvas.addEventListener("pointerleave", () => hands.leave());
    viewer.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    viewer.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  place(event) {
    const box = this.viewer.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  press(event, x, y) {
    this.viewer.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, [x, y]);
    // The other buttons move or change the window, whatever the tool.
    this.tool = { 1: "move", 2: "window" }[event.button] ?? this.hands.tool();
    this.start = [x, y];
    this.travelled = 0;
    if (this.down.size > 1) this.tool = "pinch";
  }

  drag(event, x, y) {
    this.hands.hover(...this.viewer.toImage(x, y));
    const last = this.down.get(event.pointerId);
    if (!last) return;
    const [dx, dy] = [x - last[0], y - last[1]];
    this.travelled = Math.max(this.travelled, Math.hypot(x - this.start[0], y - this.start[1]));
    if (this.tool === "pinch") this.pinch(event.pointerId, x, y);
    this.down.set(event.pointerId, [x, y]);
    if (this.tool === "move") this.viewer.move(dx, dy);
    else if (this.tool === "window") this.hands.window(dx, dy);
    else if (this.tool === "rectangle" && this.travelled > CLICK_PX) this.hands.region(this.rectangle(x, y), true);
  }

  release(event, x, y) {
    if (!this.down.delete(event.pointerId) || this.tool === "pinch") return;
    if (this.travelled > CLICK_PX) return;
    if (this.tool === "polygon") {
      const corner = this.viewer.toImage(x, y).map((each) => Math.round(each * 10) / 10);
      const last = this.corners.at(-1);
      if (last && last[0] === corner[0] && last[1] === corner[1]) return; // the second click of two
      this.corners.push(corner);
      this.hands.region(this.corners, false);
    } else this.hands.select(...this.viewer.toImage(x, y), 14 / this.viewer.scale);
  }

  cancel(event) {
    this.down.delete(event.pointerId);
  }

  close() {
    if (this.corners.length < 3) return;
    this.hands.region(this.corners, true);
    this.corners = [];
  }

  takeBack() {
    if (!this.corners.length) return;
    this.corners.pop();
    this.hands.region(this.corners, false);
  }

  forget() {
    this.corners = [];
  }

  pinch(id, x, y) {
    const other = [...this.down].find(([each]) => each !== id);
    if (!other) return;
    const [last, fixed] = [this.down.get(id), other[1]];
    const spread = (point) => Math.max(20, Math.hypot(point[0] - fixed[0], point[1] - fixed[1]));
    this.viewer.zoom(spread([x, y]) / spread(last), (x + fixed[0]) / 2, (y + fixed[1]) / 2);
    this.viewer.move((x - last[0]) / 2, (y - last[1]) / 2);
  }

  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
    this.viewer.zoom(Math.exp(-Math.min(300, Math.max(-300, pixels)) * 0.002), ...this.place(event));
  }

  /** Returns the first and last pixel of the rectangle from where the pointer went down, within the image. */
  rectangle(x, y) {
    const { height, width } = this.viewer.image;
    const inside = ([row, column]) => [
      Math.min(Math.max(Math.round(row), 0), height - 1),
      Math.min(Math.max(Math.round(column), 0), width - 1),
    ];
    return [inside(this.viewer.toImage(...this.start)), inside(this.viewer.toImage(x, y))];
  }
}
