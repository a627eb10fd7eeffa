// What lies in a region: the rules of calcseg_tf.clinical.region, on the figures that the page holds.

const ON_OUTLINE_PX = 1e-9;
const FARTHEST_PX = 1e6;

/** Returns the corners [row, column] of "row,column row,column ...": two are the rectangle of whole pixels. */
function parseRegion(text) {
  const corners = text.trim().split(/[\s;]+/).map((pair) => {
    const numbers = pair.split(",").map((part) => (/^[-+]?(\d+\.?\d*|\.\d+)$/.test(part) ? Number(part) : NaN));
    if (numbers.length !== 2 || numbers.some((each) => !(Math.abs(each) <= FARTHEST_PX)))
      throw new Error("a corner is row,column in pixels; found “" + pair.slice(0, 40) + "”");
    return numbers;
  });
  if (corners.length < 2) throw new Error("a region has at least two corners");
  const range = (axis) => [Math.min(...corners.map((c) => c[axis])), Math.max(...corners.map((c) => c[axis]))];
  const [[top, bottom], [left, right]] = [range(0), range(1)];
  if (corners.length === 2) {
    const [t, l, b, r] = [top, left, bottom, right].map(Math.round);
    return [[t - 0.5, l - 0.5], [t - 0.5, r + 0.5], [b + 0.5, r + 0.5], [b + 0.5, l - 0.5]];
  }
  if (top === bottom || left === right) throw new Error("a polygon’s corners do not all lie on one row or column");
  return corners;
}

function isOutside(corners, height, width) {
  return [height, width].some((size, axis) =>
    corners.every((corner) => corner[axis] <= -0.5) || corners.every((corner) => corner[axis] >= size - 0.5));
}

/** Tells whether a point is inside or on the outline; even-odd where the polygon crosses itself. */
function contains(corners, row, column) {
  let inside = false;
  for (let i = 0; i < corners.length; i++) {
    const [r0, c0] = corners[i];
    const [r1, c1] = corners[(i + 1) % corners.length];
    const side = (c1 - c0) * (row - r0) - (r1 - r0) * (column - c0);
    const length = Math.hypot(r1 - r0, c1 - c0);
    const along = (r1 - r0) * (row - r0) + (c1 - c0) * (column - c0);
    const reach = ON_OUTLINE_PX * length;
    if (Math.abs(side) <= reach && along >= -reach && along <= length ** 2 + reach) return true;
    if (r0 > row !== r1 > row && side > 0 === r1 > r0) inside = !inside;
  }
  return inside;
}

/** Returns {ids, count, mean_area_px, std_area_px, mean_area_mm2, std_area_mm2}; null where undefined. */
function measureRegion(step, corners, spacing) {
  const ids = [];
  const areas = [];
  for (let i = 0; i < step.row.length; i++) {
    if (!contains(corners, step.row[i], step.column[i])) continue;
    ids.push(i + 1);
    areas.push(step.area_px[i]);
  }
  const count = areas.length;
  const mean = count ? areas.reduce((sum, each) => sum + each, 0) / count : null;
  const squares = areas.reduce((sum, each) => sum + (each - mean) ** 2, 0);
  const std = count > 1 ? Math.sqrt(squares / (count - 1)) : null; // of a sample
  const inMm2 = (value) => (value === null || spacing === null ? null : value * (spacing[0] * spacing[1]));
  return { ids, count, mean_area_px: mean, std_area_px: std, mean_area_mm2: inMm2(mean), std_area_mm2: inMm2(std) };
}
