// Decodes 16-bit greyscale PNG without the browser's own decoder, which keeps 8 bits.

/** Returns {height, width, pixels: Uint16Array} of a PNG in base64. */
async function decodePng(base64) {
  const file = bytesOf(base64);
  const view = new DataView(file.buffer);
  const width = view.getUint32(16), height = view.getUint32(20);
  if (file[24] !== 16 || file[25] !== 0 || file[28] !== 0) throw new Error("not a 16-bit greyscale PNG");
  const parts = [];
  for (let at = 8; at < file.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...file.subarray(at + 4, at + 8));
    if (kind === "IDAT") parts.push(file.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const unpacking = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(unpacking).arrayBuffer());
  return { height, width, pixels: unfilter(bytes, height, width) };
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Undoes the filter that each row names in its first byte (PNG, 9.2). */
function unfilter(bytes, height, width) {
  const stride = 2 * width;
  const pixels = new Uint16Array(height * width);
  let above = new Uint8Array(stride + 2); // two zeros before the row
  let row = new Uint8Array(stride + 2);
  for (let y = 0, at = 0; y < height; y++, at += stride + 1) {
    const filter = bytes[at];
    row.set(bytes.subarray(at + 1, at + 1 + stride), 2);
    if (filter === 1) for (let i = 2; i < row.length; i++) row[i] += row[i - 2];
    else if (filter === 2) for (let i = 2; i < row.length; i++) row[i] += above[i];
    else if (filter === 3) for (let i = 2; i < row.length; i++) row[i] += (row[i - 2] + above[i]) >> 1;
    else if (filter === 4) {
      for (let i = 2; i < row.length; i++) {
        const a = row[i - 2], b = above[i], c = above[i - 2];
        const pa = Math.abs(b - c), pb = Math.abs(a - c), pc = Math.abs(a + b - 2 * c);
        row[i] += pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      }
    }
    for (let x = 0, i = 2, to = y * width; x < width; x++, i += 2) pixels[to + x] = (row[i] << 8) | row[i + 1];
    [above, row] = [row, above];
  }
  return pixels;
}

/** Returns the image and its halves, quarters and so on; a pixel of the next level is combine(4 pixels). */
function pyramid(image, combine) {
  const levels = [image];
  for (let last = image; Math.max(last.height, last.width) > 512; levels.push(last)) last = halved(last, combine);
  return levels;
}

function halved({ height, width, pixels }, combine) {
  const half = { height: (height + 1) >> 1, width: (width + 1) >> 1 };
  half.pixels = new Uint16Array(half.height * half.width);
  for (let y = 0, to = 0; y < half.height; y++) {
    const upper = 2 * y * width;
    const lower = Math.min(2 * y + 1, height - 1) * width;
    for (let x = 0; x < half.width; x++, to++) {
      const left = 2 * x;
      const right = Math.min(left + 1, width - 1);
      half.pixels[to] = combine(
        pixels[upper + left], pixels[upper + right], pixels[lower + left], pixels[lower + right]);
    }
  }
  return half;
}

const meanOfFour = (a, b, c, d) => (a + b + c + d + 2) >> 2;

// The highest, so that a speck is seen however small the picture.
function highestOfFour(a, b, c, d) {
  const upper = a > b ? a : b;
  const lower = c > d ? c : d;
  return upper > lower ? upper : lower;
}
