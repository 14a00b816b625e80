// Grey values between the slices that the page holds, for small pictures of single particles.

const CROP = 48; // pixels of a crop's side
const WIDTH = 1.6; // of a crop, in diameters
let volume = null;

// All slices, (slices, rows, columns) uint8; they are read once, when first wanted.
function wholeVolume() {
  return (volume ??= readVolume());
}

async function readVolume() {
  const canvas = element("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const size = rows * columns;
  const values = new Uint8Array(places.length * size);
  for (const slice of places.keys()) {
    context.drawImage(await greyImage(slice), 0, 0);
    const { data } = context.getImageData(0, 0, columns, rows);
    for (let n = 0; n < size; n++) values[slice * size + n] = data[4 * n];
  }
  return values;
}

// Slices next to a place, and how far it is from the first to the second; null beyond the ends.
function between(z) {
  const last = places.length - 1;
  if (z < places[0] - 0.5 || z > places[last] + 0.5) return null;
  let slice = 0;
  while (slice < last - 1 && places[slice + 1] <= z) slice++;
  if (!last) return [0, 0, 0];
  const part = (z - places[slice]) / (places[slice + 1] - places[slice]);
  return [slice, slice + 1, Math.max(0, Math.min(1, part))];
}

// A square around a place, WIDTH diameters wide, (CROP, CROP) float32 by trilinear interpolation, NaN where
// there are no values. `plane`: xy or xz.
function cropOf(values, place, diameter, plane = "xy") {
  const crop = new Float32Array(CROP * CROP).fill(NaN);
  const pixel = (WIDTH * diameter) / CROP; // angstrom
  for (let row = 0; row < CROP; row++) {
    const down = (row - (CROP - 1) / 2) * pixel;
    const z = plane === "xy" ? place.z : place.z + down / DEEP;
    const levels = between(z);
    if (!levels) continue;
    const y = onPixels(plane === "xy" ? place.y + down / HIGH : place.y, rows);
    if (!y) continue;
    for (let column = 0; column < CROP; column++) {
      const x = onPixels(place.x + ((column - (CROP - 1) / 2) * pixel) / WIDE, columns);
      if (x) crop[row * CROP + column] = valueAt(values, levels, y, x);
    }
  }
  return crop;
}

// Pixels next to a voxel, and how far it is from the first to the second; null beyond the picture.
function onPixels(voxel, count) {
  const at = (voxel + 0.5) / DATA.binning - 0.5;
  if (at < -0.5 || at > count - 0.5) return null;
  const first = Math.max(0, Math.min(count - 2, Math.floor(at)));
  return [first, Math.min(count - 1, first + 1), Math.max(0, Math.min(1, at - first))];
}

function valueAt(values, [z, nextZ, partZ], [y, nextY, partY], [x, nextX, partX]) {
  const row = (slice, line) => {
    const start = (slice * rows + line) * columns;
    return values[start + x] * (1 - partX) + values[start + nextX] * partX;
  };
  const plane = (slice) => row(slice, y) * (1 - partY) + row(slice, nextY) * partY;
  return plane(z) * (1 - partZ) + plane(nextZ) * partZ;
}

// Draw values on a canvas, black at `low`, white at `high`; what is NaN stays empty.
function paintCrop(canvas, crop, low = 0, high = 255) {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(CROP, CROP);
  crop.forEach((value, n) => {
    if (Number.isNaN(value)) return;
    const grey = (255 * (value - low)) / (high - low || 1);
    picture.data.set([grey, grey, grey, 255], 4 * n);
  });
  context.putImageData(picture, 0, 0);
}

// A crop with the outline of the particle.
function cropCanvas(className) {
  const canvas = element("canvas", { className: "crop", width: CROP, height: CROP });
  const ring = element("span", { className: "ring" });
  ring.style.width = ring.style.height = `${100 / WIDTH}%`;
  return { canvas, box: element("span", { className }, canvas, ring) };
}
