// The page of one tomogram.

const state = {
  slice: Math.floor(places.length / 2),
  shown: workflows.map(() => true),
  particle: workflows.map(() => 1),
  used: workflows.map(() => false),
  large: null, // number of the workflow in the dialog, -1 for the blurred slice
};

const modes = [...new Set(workflows.map(({ mode }) => mode))];
const methods = [...new Set(workflows.map(({ method }) => method))];
byId("grid").style.setProperty("--columns", modes.length + 1);

// Number -1 is the blurred slice, without labels.
const panels = [-1, ...workflows.keys()].map((number) => {
  const view = makeView();
  const title = number < 0 ? "blurred slice" : workflowName(workflows[number]);
  const open = named(`Enlarge ${title}`, element("button", { type: "button", className: "stage" }, view.box));
  open.addEventListener("click", () => enlarge(number));
  const share = element("span", { className: "quiet" });
  const caption = element("figcaption", {}, element("span", { textContent: title }), share);
  const figure = element("figure", {}, open, caption);
  figure.dataset.workflow = title;
  // A column for each feature mode, a row for each clustering method.
  figure.style.setProperty("--column", number < 0 ? 1 : modes.indexOf(workflows[number].mode) + 2);
  figure.style.setProperty("--row", number < 0 ? 1 : methods.indexOf(workflows[number].method) + 1);
  byId("beside").before(figure);
  return { number, view, figure, share, title };
});
const large = { number: -1, view: makeView() };
byId("large-view").append(large.view.box);

let drawings = 0;

function wantedPanels() {
  const wanted = panels.filter(({ number }) => number < 0 || state.shown[number]);
  if (state.large !== null) wanted.push({ ...large, number: state.large });
  return wanted;
}

function drawAllCircles() {
  for (const { number, view } of wantedPanels()) drawCircles(view, number, places[state.slice]);
}

async function draw() {
  const drawing = ++drawings;
  const wanted = wantedPanels();
  const [image, ...bits] = await Promise.all([
    greyImage(state.slice),
    ...wanted.map(({ number }) => (number < 0 ? null : maskBits(number, state.slice))),
  ]);
  if (drawing !== drawings) return; // another slice is wanted by now
  wanted.forEach(({ number, view }, place) => paint(view, image, bits[place], state.particle[number]));
  drawAllCircles();
  document.body.dataset.drawn = places[state.slice];
  for (const next of [state.slice - 1, state.slice + 1]) if (next in places) greyImage(next);
}

function complain(error) {
  byId("complaint").hidden = false;
  byId("complaint").textContent = error.message;
}

function goTo(slice) {
  state.slice = Math.max(0, Math.min(places.length - 1, slice));
  const slider = byId("slice");
  slider.value = state.slice;
  slider.setAttribute("aria-valuetext", `z ${places[state.slice]}`);
  byId("z").value = `${places[state.slice]} of 0 to ${DATA.shape[0] - 1}`;
  byId("large-z").value = `z ${places[state.slice]}`;
  draw().catch(complain);
}

function enlarge(number) {
  state.large = number;
  byId("large-title").textContent = panels[number + 1].title;
  const [, dy, dx] = DATA.voxelSize;
  const aspect = (columns * (dx || 1)) / (rows * (dy || 1));
  byId("large-view").style.width = `min(100vw - 4rem, ${80 * aspect}vh)`;
  if (!byId("large").open) byId("large").showModal();
  draw().catch(complain);
}

function stepLarge(step) {
  enlarge(((state.large + 1 + step + panels.length) % panels.length) - 1);
}

function setShown(number, shown) {
  state.shown[number] = shown;
  workflows[number].show.checked = shown;
  panels[number + 1].figure.hidden = !shown;
  draw().catch(complain);
}

// What follows from the choices: captions and YAML.

function update() {
  workflows.forEach(({ share }, number) => {
    const label = state.particle[number];
    panels[number + 1].share.textContent = `label ${label}: ${percent(label ? share : 1 - share)}`;
  });
  const [lower, upper] = ["lower", "upper"].map((id) => (byId(id).value === "" ? null : Number(byId(id).value)));
  const valid = ["lower", "upper"].every((id) => byId(id).validity.valid) && (lower ?? 0) <= (upper ?? Infinity);
  const entries = [...workflows.keys()]
    .filter((number) => state.used[number])
    .map((number) => ({ file: workflows[number].file, particle: state.particle[number], lower, upper }));
  if (!workflows.some(({ file }) => file)) showYaml("# S2 reads HDF5 files: run S1 with save: [hdf5]\n");
  else if (!valid) showYaml(`# first and last z-slice must be whole numbers from 0 to ${DATA.shape[0] - 1}, in this order\n`);
  else showYaml(entries.length ? s2Parameters(DATA, entries) : "# tick \"use in S2\" for at least one workflow\n");
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
  const text = `fitted on z-slices ${lower ?? 0}-${(upper ?? DATA.shape[0]) - 1}`;
  band.title = text;
  return text;
}

function fillHead() {
  byId("name").textContent = DATA.name;
  const facts = [DATA.dataset, describeVolume(DATA), markLimits(), DATA.path];
  byId("facts").textContent = facts.join(" \u00b7 ");
  byId("warnings").append(...DATA.warnings.map((textContent) => element("li", { textContent })));
  byId("warnings").hidden = !DATA.warnings.length;
  const titles = { index: "All tomograms", previous: "\u2039 previous", next: "next \u203a" };
  for (const [key, href] of Object.entries(DATA.links)) {
    byId("pages").append(element("a", { href, textContent: titles[key] }));
  }
  const unit = workflows[0]?.components.unit;
  byId("notes").textContent =
    "Workflows: features of each neighborhood (ffts: magnitudes of its Fourier transform; gabor: responses of Gabor filters; " +
    "intensities: its voxels), separated into two clusters (kmeans: k-means; gmm: a Gaussian mixture). " +
    "Label 1 is the smaller cluster. " +
    `Components: voxels of label 1 joined through faces; those under ${DATA.smallest} voxels are counted as smaller. Largest: fraction of label 1 that the largest one holds. ` +
    `Diameter: sphere of the same volume${unit === "voxels" ? ", in voxels, since the file does not tell their size" : ""}. Line: median. Brackets: 10th to 90th percentile. ` +
    "Contrast: difference of the two labels' mean grey values over their pooled standard deviation. " +
    "None of these numbers predicts which workflow is best for picking.";
}

// Events.

function listen() {
  byId("slice").max = places.length - 1;
  byId("slice").addEventListener("input", () => goTo(Number(byId("slice").value)));
  byId("opacity").addEventListener("input", setOpacity);
  for (const id of ["black", "white"]) byId(id).addEventListener("input", setContrast);
  for (const id of ["lower", "upper"]) {
    byId(id).max = DATA.shape[0] - 1;
    byId(id).addEventListener("input", update);
    byId(`${id}-here`).addEventListener("click", () => {
      byId(id).value = places[state.slice];
      update();
    });
  }
  for (const { box } of [...panels.map(({ view }) => view), large.view]) {
    box.addEventListener("wheel", turn, { passive: false });
  }
  byId("large").addEventListener("close", () => (state.large = null));
  byId("large-close").addEventListener("click", () => byId("large").close());
  byId("large-previous").addEventListener("click", () => stepLarge(-1));
  byId("large-next").addEventListener("click", () => stepLarge(1));
  document.addEventListener("keydown", onKey);
}

// A notch of a wheel is one slice; the small steps of a touchpad add up. At the ends the page scrolls.
let turned = 0;

function turn(event) {
  const step = Math.sign(event.deltaY);
  if (event.ctrlKey || !step || !(state.slice + step in places)) return;
  event.preventDefault();
  turned = Math.sign(turned) === step ? turned + event.deltaY : event.deltaY;
  if (event.deltaMode === WheelEvent.DOM_DELTA_PIXEL && Math.abs(turned) < 50) return;
  turned = 0;
  goTo(state.slice + step);
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

const [first, last] = s2Limits(DATA.limits);
[byId("lower").value, byId("upper").value] = [first ?? "", last ?? ""];
fillHead();
fillTable();
startParticles();
listen();
setContrast();
setOpacity();
update();
goTo(state.slice);
