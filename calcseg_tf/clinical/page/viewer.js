// The picture: tiles of the mammogram and of its heat map, drawn once each, so that moving it costs next to nothing.

const TILE = 512;
const MOST_TILES = 96; // of each kind; 1 MB each
const MOST_ZOOM = 64;

class Viewer {
  /**
   * @param canvas Shows it; takes the size that the page gives it.
   * @param image Grey values, {height, width, pixels}.
   * @param map Probability codes, likewise.
   * @param data Of the exam.
   */
  constructor(canvas, image, map, data) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.image = image;
    this.map = map;
    this.grey = { levels: pyramid(image, meanOfFour), tiles: new Map() };
    this.heat = { levels: pyramid(map, highestOfFour), tiles: new Map() };
    this.colours = new Uint32Array(new Uint8Array(data.colours).buffer);
    this.shades = new Uint32Array(data.full_scale + 1);
    this.opacity = 0.6;
    this.tall = data.spacing_mm ? data.spacing_mm[0] / data.spacing_mm[1] : 1; // a pixel's height in widths
    this.layers = []; // functions that draw over the picture
    this.onMove = () => {};
    this.pending = false;
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.watchDensity();
    this.resize();
    this.fit();
  }

  /** A window moved to a screen of another density keeps its size. */
  watchDensity() {
    const moved = () => (this.resize(), this.watchDensity());
    matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`).addEventListener("change", moved, { once: true });
  }

  resize() {
    const whole = this.scale && this.scale === this.fitScale();
    const keep = this.scale ? this.centre() : null;
    const box = this.canvas.parentElement.getBoundingClientRect();
    this.density = window.devicePixelRatio || 1;
    this.width = Math.max(1, box.width);
    this.height = Math.max(1, box.height);
    this.canvas.width = Math.round(this.width * this.density);
    this.canvas.height = Math.round(this.height * this.density);
    if (!keep) return;
    if (whole) this.fit();
    else this.centreOn(...keep);
    this.draw(); // at once: a canvas that is resized is empty
  }

  // Scale is screen pixels a column; x and y are where the image's corner is on the canvas, in screen pixels.
  get scaleY() {
    return this.scale * this.tall;
  }

  toScreen(row, column) {
    return [this.x + (column + 0.5) * this.scale, this.y + (row + 0.5) * this.scaleY];
  }

  toImage(x, y) {
    return [(y - this.y) / this.scaleY - 0.5, (x - this.x) / this.scale - 0.5];
  }

  centre() {
    return this.toImage(this.width / 2, this.height / 2);
  }

  fitScale() {
    return Math.min(this.width / this.image.width, this.height / (this.image.height * this.tall));
  }

  fit() {
    this.scale = this.fitScale();
    this.centreOn((this.image.height - 1) / 2, (this.image.width - 1) / 2);
  }

  centreOn(row, column, scale = this.scale) {
    this.scale = scale;
    this.x = this.width / 2 - (column + 0.5) * this.scale;
    this.y = this.height / 2 - (row + 0.5) * this.scaleY;
    this.moved();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.moved();
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const least = Math.min(this.fitScale(), 1) / 2;
    const scale = Math.min(Math.max(this.scale * factor, least), MOST_ZOOM);
    const [row, column] = this.toImage(x, y);
    this.scale = scale;
    this.x = x - (column + 0.5) * scale;
    this.y = y - (row + 0.5) * this.scaleY;
    this.moved();
  }

  moved() {
    // A part of the image stays in sight.
    const margin = 40;
    this.x = Math.min(Math.max(this.x, margin - this.image.width * this.scale), this.width - margin);
    this.y = Math.min(Math.max(this.y, margin - this.image.height * this.scaleY), this.height - margin);
    this.onMove();
    this.invalidate();
  }

  setWindow(low, high) {
    for (let value = 0; value < this.shades.length; value++) {
      const shade = Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low))));
      this.shades[value] = 0xff000000 | (shade << 16) | (shade << 8) | shade;
    }
    this.grey.tiles.clear();
    this.invalidate();
  }

  setOpacity(opacity) {
    this.opacity = opacity;
    this.invalidate();
  }

  invalidate() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.pending = false;
    const context = this.context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.drawTiles(this.grey, (pixel) => this.shades[pixel]);
    context.globalAlpha = this.opacity;
    if (this.opacity > 0) this.drawTiles(this.heat, (code) => this.colours[code >> 8]);
    context.globalAlpha = 1;
    context.setTransform(this.density, 0, 0, this.density, 0, 0);
    for (const layer of this.layers) layer(context, this);
  }

  drawTiles(picture, colour) {
    const context = this.context;
    const scale = this.scale * this.density;
    const level = Math.min(picture.levels.length - 1, Math.max(0, Math.floor(Math.log2(1 / scale))));
    const { height, width } = picture.levels[level];
    context.imageSmoothingEnabled = scale < 2;
    // Edges on whole screen pixels: no seams.
    const edgeX = (column) => Math.round((this.x + Math.min(column * 2 ** level, this.image.width) * this.scale) * this.density);
    const edgeY = (row) => Math.round((this.y + Math.min(row * 2 ** level, this.image.height) * this.scaleY) * this.density);
    for (let top = 0; top < height; top += TILE) {
      const [y0, y1] = [edgeY(top), edgeY(top + TILE)];
      if (y1 <= 0 || y0 >= this.canvas.height) continue;
      for (let left = 0; left < width; left += TILE) {
        const [x0, x1] = [edgeX(left), edgeX(left + TILE)];
        if (x1 <= 0 || x0 >= this.canvas.width) continue;
        const tile = this.tile(picture, level, top, left, colour);
        if (tile) context.drawImage(tile, x0, y0, x1 - x0, y1 - y0);
      }
    }
  }

  /** Returns a tile's canvas, or null where nothing is to be seen. */
  tile(picture, level, top, left, colour) {
    const key = `${level}/${top}/${left}`;
    let tile = picture.tiles.get(key);
    if (tile === undefined) tile = paint(picture.levels[level], top, left, colour);
    picture.tiles.delete(key); // the last used is the last in order
    picture.tiles.set(key, tile);
    if (picture.tiles.size > MOST_TILES) picture.tiles.delete(picture.tiles.keys().next().value);
    return tile;
  }
}

function paint({ height, width, pixels }, top, left, colour) {
  const [high, wide] = [Math.min(TILE, height - top), Math.min(TILE, width - left)];
  const shown = new ImageData(wide, high);
  const target = new Uint32Array(shown.data.buffer);
  let any = 0;
  for (let y = 0, to = 0; y < high; y++) {
    const from = (top + y) * width + left;
    for (let x = 0; x < wide; x++, to++) any |= (target[to] = colour(pixels[from + x])) >>> 24; // its opacity
  }
  if (any === 0) return null;
  const tile = document.createElement("canvas");
  tile.width = wide;
  tile.height = high;
  tile.getContext("2d").putImageData(shown, 0, 0);
  return tile;
}
