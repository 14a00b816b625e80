// The page of one tomogram.

const { places, rows, columns, border, workflows } = DATA;
const COLOUR = new Uint32Array(new Uint8Array([255, 120, 0, 255]).buffer)[0];
const state = {
  slice: Math.floor(places.length / 2),
  shown: workflows.map(() => true),
  particle: workflows.map(() => 1),
  used: workflows.map(() => false),
  large: null, // number of the workflow in the dialog, -1 for the blurred slice
};

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
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A view is a grey canvas with a coloured one above it, and a scale bar.

function makeView() {
  const canvas = (className) => element("canvas", { className, width: columns, height: rows });
  const view = { grey: canvas("grey"), mask: canvas("mask"), box: element("span", { className: "view" }) };
  view.box.append(view.grey, view.mask);
  const [, dy, dx] = DATA.voxelSize;
  view.box.style.aspectRatio = dx > 0 && dy > 0 ? `${columns * dx} / ${rows * dy}` : `${columns} / ${rows}`;
  if (dx > 0) view.box.append(scaleBar((columns * DATA.binning * dx) / 10));
  return view;
}

function scaleBar(width) {
  const most = width / 4; // nm
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * [5, 2, 1].find((step) => step * power <= most);
  const bar = element("span", { className: "scale", textContent: `${short(length)} nm` });
  bar.style.width = `${(100 * length) / width}%`;
  return bar;
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

const modes = [...new Set(workflows.map(({ mode }) => mode))];
const methods = [...new Set(workflows.map(({ method }) => method))];
byId("grid").style.setProperty("--columns", modes.length + 1);

// Number -1 is the blurred slice, without labels.
const panels = [-1, ...workflows.keys()].map((number) => {
  const view = makeView();
  const title = number < 0 ? "blurred slice" : workflowName(workflows[number]);
  const open = element("button", { type: "button", className: "stage", ariaLabel: `Enlarge ${title}` }, view.box);
  open.addEventListener("click", () => enlarge(number));
  const share = element("span", { className: "quiet" });
  const caption = element("figcaption", {}, element("span", { textContent: title }), share);
  const figure = element("figure", {}, open, caption);
  figure.dataset.workflow = title;
  // A column for each feature mode, a row for each clustering method.
  figure.style.setProperty("--column", number < 0 ? 1 : modes.indexOf(workflows[number].mode) + 2);
  figure.style.setProperty("--row", number < 0 ? 1 : methods.indexOf(workflows[number].method) + 1);
  byId("hints").before(figure);
  return { number, view, figure, share, title };
});
const large = { number: -1, view: makeView() };
byId("large-view").append(large.view.box);

let drawings = 0;

async function draw() {
  const drawing = ++drawings;
  const wanted = panels.filter(({ number }) => number < 0 || state.shown[number]);
  if (state.large !== null) wanted.push({ ...large, number: state.large });
  const [image, ...bits] = await Promise.all([
    greyImage(state.slice),
    ...wanted.map(({ number }) => (number < 0 ? null : maskBits(number, state.slice))),
  ]);
  if (drawing !== drawings) return; // another slice is wanted by now
  wanted.forEach(({ number, view }, place) => paint(view, image, bits[place], state.particle[number]));
  document.body.dataset.drawn = places[state.slice];
  for (const next of [state.slice - 1, state.slice + 1]) if (next in places) greyImage(next);
}

function goTo(slice) {
  state.slice = Math.max(0, Math.min(places.length - 1, slice));
  const slider = byId("slice");
  slider.value = state.slice;
  slider.ariaValueText = `z ${places[state.slice]}`;
  byId("z").value = `${places[state.slice]} of 0 to ${DATA.shape[0] - 1}`;
  byId("large-z").value = `z ${places[state.slice]}`;
  draw();
}

function enlarge(number) {
  state.large = number;
  byId("large-title").textContent = panels[number + 1].title;
  const [, dy, dx] = DATA.voxelSize;
  const aspect = (columns * (dx || 1)) / (rows * (dy || 1));
  byId("large-view").style.width = `min(92vw, ${80 * aspect}vh)`;
  if (!byId("large").open) byId("large").showModal();
  draw();
}

function stepLarge(step) {
  enlarge(((state.large + 1 + step + panels.length) % panels.length) - 1);
}

// The table.

function fillTable() {
  workflows.forEach((workflow, number) => {
    const name = workflowName(workflow);
    const show = element("input", { type: "checkbox", checked: true, ariaLabel: `Show ${name}` });
    show.addEventListener("change", () => setShown(number, show.checked));
    const use = element("input", { type: "checkbox", ariaLabel: `Use ${name} in S2`, disabled: !workflow.file });
    use.addEventListener("change", () => {
      state.used[number] = use.checked;
      update();
    });
    const swap = element("select", { ariaLabel: `Particles in ${name}` });
    for (const label of [1, 0]) swap.append(element("option", { value: label, textContent: `label ${label}` }));
    swap.addEventListener("change", () => {
      state.particle[number] = Number(swap.value);
      update();
      draw();
    });
    workflow.row = element(
      "tr",
      {},
      element("td", {}, show),
      element("th", { scope: "row", textContent: name }),
      numberCell(percent(workflow.share)),
      numberCell(workflow.components.count.toLocaleString("en"), componentsTitle(workflow.components)),
      element("td", {}, diameterPlot(workflow.components)),
      numberCell(workflow.separation === null ? "\u2013" : workflow.separation.toFixed(2)),
      numberCell(iterationsText(workflow)),
      numberCell(workflow.seconds === null ? "\u2013" : `${short(workflow.seconds)} s`),
      element("td", {}, swap),
      element("td", {}, use),
    );
    byId("rows").append(workflow.row);
    workflow.show = show;
  });
}

function numberCell(text, title = "") {
  return element("td", { className: "number", textContent: text, title });
}

function iterationsText({ iterations, converged }) {
  if (iterations === null) return "\u2013";
  return converged === false ? `${iterations}, not converged` : String(iterations);
}

function componentsTitle({ smaller, largest }) {
  return `and ${smaller.toLocaleString("en")} smaller ones; the largest holds ${percent(largest)} of label 1`;
}

function diameterPlot({ counts, edges, quantiles, unit }) {
  if (!counts) return "none";
  const [width, height] = [150, 34];
  const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height + 12}`, width, height: height + 12, role: "img" });
  const [low, middle, high] = quantiles.map(short);
  const title = svgElement("title", {});
  title.textContent = `median ${middle} ${unit}; 80% lie between ${low} and ${high} ${unit}`;
  svg.append(title);
  svg.setAttribute("aria-label", title.textContent);
  const step = width / counts.length;
  const most = Math.max(...counts);
  counts.forEach((count, place) => {
    const tall = count ? Math.max(1.5, (height * count) / most) : 0;
    svg.append(svgElement("rect", { x: place * step, y: height - tall, width: step - 1, height: tall }));
  });
  const ends = [[0, "start", edges[0]], [width, "end", edges[edges.length - 1]]];
  for (const [x, anchor, value] of ends) {
    const text = svgElement("text", { x, y: height + 10, "text-anchor": anchor });
    text.textContent = `${short(value)} ${unit}`;
    svg.append(text);
  }
  const mark = (width * Math.log(quantiles[1] / edges[0])) / Math.log(edges[edges.length - 1] / edges[0]);
  svg.append(svgElement("line", { x1: mark, x2: mark, y1: 0, y2: height }));
  return svg;
}

function svgElement(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function setShown(number, shown) {
  state.shown[number] = shown;
  workflows[number].show.checked = shown;
  panels[number + 1].figure.hidden = !shown;
  draw();
}

// What follows from the choices: captions and YAML.

function update() {
  workflows.forEach(({ share }, number) => {
    const label = state.particle[number];
    panels[number + 1].share.textContent = `label ${label}: ${percent(label ? share : 1 - share)}`;
  });
  const [lower, upper] = ["lower", "upper"].map((id) => (byId(id).value === "" ? null : Number(byId(id).value)));
  const entries = [...workflows.keys()]
    .filter((number) => state.used[number])
    .map((number) => ({ file: workflows[number].file, particle: state.particle[number], lower, upper }));
  if (!workflows.some(({ file }) => file)) showYaml("# S2 reads HDF5 files: run S1 with save: [hdf5]\n");
  else if (lower !== null && upper !== null && lower >= upper) showYaml("# the lower limit must be below the upper one\n");
  else showYaml(entries.length ? s2Inputs(entries) : "# choose segmentations in the column: use in S2\n");
}

// Grey values: from percentiles to a linear map of the 256 levels.

function levelAt(part) {
  const total = DATA.histogram.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  return Math.max(0, DATA.histogram.findIndex((count) => (seen += count) >= part * total));
}

function setContrast() {
  const [black, white] = ["black", "white"].map((id) => Number(byId(id).value));
  byId("black-text").value = `${black}%`;
  byId("white-text").value = `${white}%`;
  const low = levelAt(black / 100) / 255;
  const high = Math.max(levelAt(white / 100) / 255, low + 1 / 255);
  for (const channel of byId("contrast").querySelectorAll("feComponentTransfer > *")) {
    channel.setAttribute("slope", 1 / (high - low));
    channel.setAttribute("intercept", -low / (high - low));
  }
}

function setOpacity() {
  document.body.style.setProperty("--opacity", byId("opacity").value / 100);
}

// The z-limits, as a band under the slider, whose thumb keeps half its width from the ends.
function markLimits() {
  const [lower, upper] = DATA.limits;
  if (lower === null && upper === null) return "fitted on all z-slices";
  const [first, last] = [places[0], places[places.length - 1]];
  const at = (z) => Math.max(0, Math.min(1, (z - first) / Math.max(1, last - first)));
  const [begin, end] = [at(lower ?? 0), at((upper ?? DATA.shape[0]) - 1)];
  const band = byId("fitted");
  band.hidden = false;
  band.style.left = `calc(var(--thumb) / 2 + (100% - var(--thumb)) * ${begin})`;
  band.style.width = `calc((100% - var(--thumb)) * ${end - begin})`;
  const text = `fitted on z-slices ${lower ?? 0} to ${(upper ?? DATA.shape[0]) - 1}`;
  band.title = text;
  return text;
}

function fillHead() {
  byId("name").textContent = DATA.name;
  const facts = [DATA.dataset, describeVolume(DATA), markLimits(), DATA.path];
  byId("facts").textContent = facts.join(" \u00b7 ");
  const titles = { index: "All tomograms", previous: "\u2039 previous", next: "next \u203a" };
  for (const [key, href] of Object.entries(DATA.links)) {
    byId("pages").append(element("a", { href, textContent: titles[key] }));
  }
  const { unit, binning } = workflows[0]?.components ?? {};
  byId("notes").textContent =
    `Components are of label 1, joined through faces, of ${DATA.smallest} voxels or more; ` +
    `their diameters are those of spheres as large, the line is the median${unit === "voxels" ? ", in voxels, since the file does not tell their size" : ""}. ` +
    (binning > 1 ? `They were counted after binning by ${binning}. ` : "") +
    "Separation is the distance between the mean grey values of the two labels over their pooled standard deviation.";
}

// Events.

function listen() {
  byId("slice").max = places.length - 1;
  byId("slice").addEventListener("input", () => goTo(Number(byId("slice").value)));
  byId("opacity").addEventListener("input", setOpacity);
  for (const id of ["black", "white"]) byId(id).addEventListener("input", setContrast);
  for (const id of ["lower", "upper"]) {
    byId(id).max = DATA.shape[0];
    byId(id).addEventListener("input", update);
    byId(`${id}-here`).addEventListener("click", () => {
      byId(id).value = places[state.slice];
      update();
    });
  }
  for (const { box } of [...panels.map(({ view }) => view), large.view]) {
    const turn = (event) => {
      event.preventDefault();
      goTo(state.slice + Math.sign(event.deltaY));
    };
    box.addEventListener("wheel", turn, { passive: false });
  }
  byId("large").addEventListener("close", () => (state.large = null));
  byId("large-close").addEventListener("click", () => byId("large").close());
  byId("large-previous").addEventListener("click", () => stepLarge(-1));
  byId("large-next").addEventListener("click", () => stepLarge(1));
  document.addEventListener("keydown", onKey);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
  if (event.key in steps) goTo(state.slice + steps[event.key]);
  else if (workflows[event.key - 1]) switchWorkflow(event.key - 1);
  else return;
  event.preventDefault();
}

function switchWorkflow(number) {
  if (state.large === null) setShown(number, !state.shown[number]);
  else enlarge(number);
}

[byId("lower").value, byId("upper").value] = DATA.limits.map((limit) => limit ?? "");
fillHead();
fillTable();
listen();
setContrast();
setOpacity();
update();
goTo(state.slice);
