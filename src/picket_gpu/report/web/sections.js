// Sections xz and yz through one place of the tomogram, from the slices that the page holds, with lines that
// follow slice and place.

const FIRST_Z = places[0];
const DEPTH = places[places.length - 1] - FIRST_Z + 1; // voxels
const at = { x: Math.floor((columns * DATA.binning) / 2), y: Math.floor((rows * DATA.binning) / 2) }; // voxels
let pointer = null; // over the large picture, as parts of it
const sections = [
  { plane: "xz", axis: "x", other: "y", count: columns, size: WIDE, otherSize: HIGH },
  { plane: "yz", axis: "y", other: "x", count: rows, size: HIGH, otherSize: WIDE },
].map(makeSection);

function makeSection(section) {
  const [width, height] = [section.count * DATA.binning * section.size, DEPTH * DEEP]; // angstrom
  const canvas = element("canvas", { className: "grey", width: section.count, height: DEPTH });
  const drawing = svgElement("svg", { class: "circles", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
  const circles = svgElement("g", {});
  const lines = { across: svgElement("line", { x1: 0, x2: width }), down: svgElement("line", { y1: 0, y2: height }) };
  drawing.append(...limitLines(width), circles, lines.across, lines.down);
  const box = element("span", { className: "view" }, canvas, drawing);
  box.style.aspectRatio = String(width / height);
  const caption = element("figcaption", { className: "quiet" });
  const figure = element("figure", {}, box, caption);
  figure.style.flexGrow = width;
  figure.dataset.plane = section.plane;
  return { ...section, canvas, circles, lines, box, caption, figure, width, height };
}

// Where the z-limits of the fit are.
function limitLines(width) {
  const [lower, upper] = DATA.limits;
  return [lower, upper].filter((limit) => limit !== null).map((limit) => {
    const y = (limit - FIRST_Z) * DEEP;
    return svgElement("line", { class: "limit", x1: 0, x2: width, y1: y, y2: y });
  });
}

function startSections() {
  large.lines = svgElement("svg", { class: "lines", viewBox: "0 0 1 1", preserveAspectRatio: "none" });
  large.lines.append(svgElement("line", { y1: 0, y2: 1 }), svgElement("line", { x1: 0, x2: 1 }));
  large.box.append(large.lines);
  byId("planes").append(...sections.map(({ figure }) => figure));
  for (const section of sections) {
    const drag = (event) => goInSection(section, event);
    section.box.addEventListener("pointerdown", (event) => {
      section.box.setPointerCapture(event.pointerId);
      drag(event);
    });
    section.box.addEventListener("pointermove", (event) => section.box.hasPointerCapture(event.pointerId) && drag(event));
  }
  byId("stage").addEventListener("pointermove", (event) => (pointer = partsAt(event)));
  KEYS.x = () => pointer && cutAt(pointer.x * columns * DATA.binning - 0.5, pointer.y * rows * DATA.binning - 0.5);
  byId("sections").addEventListener("toggle", showSections);
}

// Cut at another place, in voxels.
function cutAt(x, y) {
  const within = (value, count) => Math.max(0, Math.min(count * DATA.binning - 1, Math.round(value)));
  Object.assign(at, { x: within(x, columns), y: within(y, rows) });
  showSections();
}

// What is clicked in a section is where the lines of all three views meet.
function goInSection({ axis, count, box }, { clientX, clientY }) {
  const { left, top, width, height } = box.getBoundingClientRect();
  const along = ((clientX - left) / width) * count * DATA.binning - 0.5;
  const place = { ...at, [axis]: along };
  cutAt(place.x, place.y);
  goTo(sliceNear(FIRST_Z + ((clientY - top) / height) * DEPTH - 0.5));
}

function showSections() {
  const { open } = byId("sections");
  large.lines.style.display = open ? "" : "none";
  if (!open) return;
  const [down, across] = large.lines.children;
  for (const name of ["x1", "x2"]) down.setAttribute(name, (at.x + 0.5) / (columns * DATA.binning));
  for (const name of ["y1", "y2"]) across.setAttribute(name, (at.y + 0.5) / (rows * DATA.binning));
  sections.forEach(drawLines);
  wholeVolume().then((values) => sections.forEach((section) => drawSection(section, values)), complain);
}

function drawLines({ axis, other, plane, size, otherSize, lines, circles, caption }) {
  const y = (places[state.slice] - FIRST_Z + 0.5) * DEEP;
  for (const name of ["y1", "y2"]) lines.across.setAttribute(name, y);
  for (const name of ["x1", "x2"]) lines.down.setAttribute(name, (at[axis] + 0.5) * size);
  caption.textContent = `${plane} at ${other} ${at[other]}, z downwards`;
  const kept = current && byId("circles").checked ? pickedOf(current) : [];
  circles.replaceChildren(...kept.flatMap((place) => {
    const square = (place.diameter / 2) ** 2 - ((place[other] - at[other]) * otherSize) ** 2;
    if (square <= 0) return [];
    const middle = { cx: (place[axis] + 0.5) * size, cy: (place.z - FIRST_Z + 0.5) * DEEP };
    return [svgElement("circle", { ...middle, r: Math.sqrt(square), class: current.answered.has(place) ? "good" : "" })];
  }));
}

// Grey values, linear between slices; they are drawn again where the place is another.
function drawSection(section, values) {
  if (section.drawn === at[section.other]) return;
  section.drawn = at[section.other];
  const { canvas, count, axis } = section;
  const pixel = Math.min((axis === "x" ? rows : columns) - 1, Math.floor(section.drawn / DATA.binning));
  const [stride, start] = axis === "x" ? [1, pixel * columns] : [columns, pixel];
  const context = canvas.getContext("2d");
  const picture = context.createImageData(count, DEPTH);
  for (let row = 0; row < DEPTH; row++) {
    const [slice, next, part] = between(FIRST_Z + row);
    const [one, other] = [slice, next].map((number) => number * rows * columns + start);
    for (let n = 0; n < count; n++) {
      const grey = values[one + n * stride] * (1 - part) + values[other + n * stride] * part;
      picture.data.set([grey, grey, grey, 255], 4 * (row * count + n));
    }
  }
  context.putImageData(picture, 0, 0);
  section.figure.dataset.drawn = section.drawn;
}
