// Slices of a tomogram and of its labels, and where they are drawn.

const { places, rows, columns, border, workflows } = DATA;
const COLOUR = new Uint32Array(new Uint8Array([255, 120, 0, 255]).buffer)[0];

// Pictures: decoded when first wanted, then kept.

const images = new Map();
const masks = new Map();

function greyImage(slice) {
  if (!images.has(slice)) {
    const image = new Image();
    image.src = `data:image/jpeg;base64,${DATA.grey[slice]}`;
    images.set(slice, image.decode().then(() => image));
  }
  return images.get(slice);
}

function maskBits(workflow, slice) {
  const key = `${workflow} ${slice}`;
  if (!masks.has(key)) masks.set(key, inflate(workflows[workflow].bits[slice]));
  return masks.get(key);
}

async function inflate(text) {
  if (!window.DecompressionStream) throw new Error("this browser is too old to show labels; use one of 2023 or later");
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A view is a grey canvas with a coloured one above it, and circles.

const [DEEP, HIGH, WIDE] = DATA.voxelSize.map((length) => length || 1);
const ASPECT = (columns * WIDE) / (rows * HIGH);

function makeView() {
  const canvas = (className) => element("canvas", { className, width: columns, height: rows });
  const view = { grey: canvas("grey"), mask: canvas("mask"), box: element("span", { className: "view" }) };
  const viewBox = `0 0 ${columns * DATA.binning * WIDE} ${rows * DATA.binning * HIGH}`; // angstrom
  view.circles = svgElement("svg", { class: "circles", viewBox, preserveAspectRatio: "none" });
  view.box.append(view.grey, view.mask, view.circles);
  view.box.style.aspectRatio = String(ASPECT);
  return view;
}

function paint(view, image, bits, particle) {
  view.grey.getContext("2d").drawImage(image, 0, 0);
  const context = view.mask.getContext("2d");
  if (!bits) return context.clearRect(0, 0, columns, rows);
  const picture = context.createImageData(columns, rows);
  const pixels = new Uint32Array(picture.data.buffer);
  for (let y = border; y < rows - border; y++) {
    for (let x = border; x < columns - border; x++) {
      const place = y * columns + x;
      const label = (bits[place >> 3] >> (7 - (place & 7))) & 1;
      if (label === particle) pixels[place] = COLOUR;
    }
  }
  context.putImageData(picture, 0, 0);
}

