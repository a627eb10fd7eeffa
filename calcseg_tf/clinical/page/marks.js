// What is drawn over the picture: calcifications, clusters, region, scale. White on black: seen on any tissue, and
// told apart by shape, not by colour.

const MOST_CIRCLES = 2000; // in sight; more would be one blot, and slow: all of them are dots then
const LABEL_FONT = "bold 13px system-ui, sans-serif";
const LABEL_REACH = 60; // screen pixels outside the picture, within which a label is moved in
const OUTLINES_FROM = 4; // screen pixels an image pixel, from which on outlines follow the pixels

function stroked(context, width, path, dash = []) {
  context.lineJoin = "round";
  for (const [colour, extra] of [["#000", 2], ["#fff", 0]]) {
    context.setLineDash(dash);
    context.strokeStyle = colour;
    context.lineWidth = width + extra;
    context.beginPath();
    path();
    context.stroke();
  }
  context.setLineDash([]);
}

function written(context, text, x, y) {
  context.font = LABEL_FONT;
  context.lineJoin = "round";
  context.lineWidth = 3;
  context.strokeStyle = "#000";
  context.strokeText(text, x, y);
  context.fillStyle = "#fff";
  context.fillText(text, x, y);
}

/** Writes what names a place, moved in from the picture's edges as far as it takes to be read whole. */
function labelled(context, viewer, text, x, y) {
  context.font = LABEL_FONT;
  const most = viewer.width - context.measureText(text).width - 4;
  const inside = x > -LABEL_REACH && x < viewer.width + LABEL_REACH && y > -LABEL_REACH && y < viewer.height + LABEL_REACH;
  // What is far out of sight stays there.
  if (inside) written(context, text, Math.max(4, Math.min(x, most)), Math.max(14, Math.min(y, viewer.height - 6)));
}

function polygon(context, viewer, corners, closed) {
  corners.forEach(([row, column], i) => {
    const [x, y] = viewer.toScreen(row, column);
    if (i) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  if (closed) context.closePath();
}

/** Radius of the circle around calcification i, in screen pixels. */
function markRadius(viewer, step, i) {
  return Math.max(6, Math.sqrt(step.area_px[i] / Math.PI) * viewer.scale * Math.max(1, viewer.tall) + 4);
}

/** Returns the indices of the calcifications in sight. */
function inSight(viewer, step) {
  const [top, left] = viewer.toImage(-20, -20);
  const [bottom, right] = viewer.toImage(viewer.width + 20, viewer.height + 20);
  const found = [];
  for (let i = 0; i < step.row.length; i++) {
    const row = step.row[i], column = step.column[i];
    if (row >= top && row <= bottom && column >= left && column <= right) found.push(i);
  }
  return found;
}

/** Draws every calcification; circles only of those without a status, which have shapes of their own. */
function drawCalcifications(context, viewer, step, statusOf) {
  if (viewer.scale >= OUTLINES_FROM) {
    stroked(context, 1.5, () => outlines(context, viewer, step.code));
    return;
  }
  const found = inSight(viewer, step).filter((i) => !statusOf(i + 1));
  if (found.length > MOST_CIRCLES) return drawDots(context, viewer, step, found);
  stroked(context, 1.2, () => {
    for (const i of found) {
      const [x, y] = viewer.toScreen(step.row[i], step.column[i]);
      const radius = markRadius(viewer, step, i);
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 2 * Math.PI);
    }
  });
}

/** Draws a dot for each of very many, pixel by pixel: rectangles take the canvas several times as long. */
function drawDots(context, viewer, step, found) {
  const { width, height } = viewer.canvas;
  const shown = new ImageData(width, height);
  const pixels = new Uint32Array(shown.data.buffer);
  const unit = Math.max(1, Math.round(viewer.density));
  const { density, scale, scaleY } = viewer;
  for (const [colour, half] of [[0xff000000, 2 * unit], [0xffffffff, unit]]) {
    for (const i of found) {
      const x = Math.round((viewer.x + (step.column[i] + 0.5) * scale) * density); // toScreen without its arrays
      const y = Math.round((viewer.y + (step.row[i] + 0.5) * scaleY) * density);
      const [left, right] = [Math.max(0, x - half), Math.max(0, Math.min(width, x + half))];
      for (let v = Math.max(0, y - half); v < Math.min(height, y + half); v++) pixels.fill(colour, v * width + left, v * width + right);
    }
  }
  const layer = document.createElement("canvas");
  [layer.width, layer.height] = [width, height];
  layer.getContext("2d").putImageData(shown, 0, 0);
  context.drawImage(layer, 0, 0, viewer.width, viewer.height);
}

/** Adds the edges between pixels at or above a code and those below to the path, as far as they are in sight. */
function outlines(context, viewer, code) {
  const { height, width, pixels } = viewer.map;
  const [first, left] = viewer.toImage(0, 0).map((each) => Math.max(0, Math.floor(each)));
  const [bottom, right] = viewer.toImage(viewer.width, viewer.height);
  const [last, end] = [Math.min(height - 1, Math.ceil(bottom)), Math.min(width - 1, Math.ceil(right))];
  const inside = (row, column) =>
    row >= 0 && row < height && column >= 0 && column < width && pixels[row * width + column] >= code;
  const edge = (r0, c0, r1, c1) => {
    context.moveTo(...viewer.toScreen(r0, c0));
    context.lineTo(...viewer.toScreen(r1, c1));
  };
  for (let row = first; row <= last; row++) {
    for (let column = left; column <= end; column++) {
      if (pixels[row * width + column] < code) continue;
      const [t, l, b, r] = [row - 0.5, column - 0.5, row + 0.5, column + 0.5];
      if (!inside(row - 1, column)) edge(t, l, t, r);
      if (!inside(row + 1, column)) edge(b, l, b, r);
      if (!inside(row, column - 1)) edge(t, l, b, l);
      if (!inside(row, column + 1)) edge(t, r, b, r);
    }
  }
}

function drawClusters(context, viewer, clusters) {
  for (const cluster of clusters || []) {
    stroked(context, 1.6, () => polygon(context, viewer, cluster.hull, true), [7, 5]);
    const top = cluster.hull.reduce((a, b) => (b[0] < a[0] ? b : a));
    const [x, y] = viewer.toScreen(...top);
    labelled(context, viewer, `Cluster ${cluster.id}`, x + 8, y - 8);
  }
}

function drawSelected(context, viewer, step, id) {
  const i = id - 1;
  const [x, y] = viewer.toScreen(step.row[i], step.column[i]);
  const half = markRadius(viewer, step, i) + 6;
  drawBrackets(context, x, y, half);
  labelled(context, viewer, String(id), x + half + 5, y + 5);
}

/** Draws where a calcification would be that only the other exam has, or that lies outside what was compared. */
function drawPointed(context, viewer, { place: [row, column], told }) {
  const [x, y] = viewer.toScreen(row, column);
  drawBrackets(context, x, y, 18);
  labelled(context, viewer, told, x + 23, y + 5);
}

function drawBrackets(context, x, y, half) {
  const arm = half / 2.5;
  stroked(context, 2.5, () => {
    for (const [h, v] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
      context.moveTo(x + h * half, y + v * (half - arm));
      context.lineTo(x + h * half, y + v * half);
      context.lineTo(x + h * (half - arm), y + v * half);
    }
  });
}

function drawRegion(context, viewer, corners, closed) {
  if (!corners.length) return;
  stroked(context, 1.8, () => polygon(context, viewer, corners, closed));
  stroked(context, 3, () => {
    for (const [row, column] of corners) {
      const [x, y] = viewer.toScreen(row, column);
      context.moveTo(x + 2, y);
      context.arc(x, y, 2, 0, 2 * Math.PI);
    }
  });
}

/** Draws a bar of a round length, of at most 160 screen pixels. */
function drawScale(context, viewer, spacing) {
  const unit = spacing ? "mm" : "px";
  const perScreen = (spacing ? spacing[1] : 1) / viewer.scale; // a screen pixel's width
  const most = 160 * perScreen;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * [5, 2, 1].find((each) => each * power <= most);
  const [x, y] = [16, viewer.height - 16];
  stroked(context, 3, () => {
    context.moveTo(x, y);
    context.lineTo(x + length / perScreen, y);
  });
  written(context, `${Number(length.toPrecision(1))} ${unit}`, x, y - 8);
}
