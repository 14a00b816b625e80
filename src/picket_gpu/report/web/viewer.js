// The page of one tomogram.

const state = {
  slice: Math.floor(places.length / 2),
  overlay: -1, // number of the workflow whose labels are drawn, -1 for none
  particle: workflows.map(() => 1),
  used: workflows.map(() => false),
};

let drawings = 0;

function drawAllCircles() {
  drawCircles(large, places[state.slice]);
  showSections();
}

async function draw() {
  const drawing = ++drawings;
  const [image, ...bits] = await Promise.all([
    greyImage(state.slice),
    ...overlays.map(({ number }) => (number < 0 ? null : maskBits(number, state.slice))),
  ]);
  if (drawing !== drawings) return; // another slice is wanted by now
  overlays.forEach(({ number, view }, place) => {
    paint(view, image, bits[place], state.particle[number]);
    if (number === state.overlay) paint(large, image, bits[place], state.particle[number]);
  });
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
  remember({ z: places[state.slice] });
  draw().catch(complain);
}

// The number of the slice nearest to a place.
function sliceNear(z) {
  const far = (slice) => Math.abs(places[slice] - z);
  return places.reduce((best, _, slice) => (far(slice) < far(best) ? slice : best), 0);
}

// What follows from the choices in the table: captions, and the parameter file of S2.

function update() {
  describeOverlays();
  const [lower, upper] = ["lower", "upper"].map((id) => (byId(id).value === "" ? null : Number(byId(id).value)));
  const valid = ["lower", "upper"].every((id) => byId(id).validity.valid) && (lower ?? 0) <= (upper ?? Infinity);
  const entries = [...workflows.keys()]
    .filter((number) => state.used[number])
    .map((number) => ({ file: workflows[number].file, particle: state.particle[number], lower, upper }));
  if (!workflows.some(({ file }) => file)) showYaml("# S2 reads HDF5 files: run S1 with save: [hdf5]\n");
  else if (!valid) showYaml(`# first and last z-slice must be whole numbers from 0 to ${DATA.shape[0] - 1}, in this order\n`);
  else showYaml(entries.length ? s2Parameters(DATA, entries) : "# tick \"use in S2\" for at least one workflow\n");
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
  for (const id of ["lower", "upper"]) {
    byId(id).max = DATA.shape[0] - 1;
    byId(id).addEventListener("input", update);
    byId(`${id}-here`).addEventListener("click", () => {
      byId(id).value = places[state.slice];
      update();
    });
  }
  for (const id of ["compare", "s2", "help", "sections"]) {
    byId(id).open = Boolean(remembered[id]);
    byId(id).addEventListener("toggle", () => remember({ [id]: byId(id).open }));
  }
  document.addEventListener("keydown", onKey);
}

// Keys and what they do; other scripts add theirs.
const KEYS = {
  PageUp: () => goTo(state.slice + 10),
  PageDown: () => goTo(state.slice - 10),
  Home: () => goTo(0),
  End: () => goTo(places.length - 1),
  "+": () => zoomBy(2),
  "-": () => zoomBy(0.5),
  f: () => zoomTo(1),
  0: () => showOverlay(-1),
  "?": () => {
    byId("help").open = !byId("help").open;
    if (byId("help").open) byId("help").scrollIntoView({ block: "nearest" });
  },
};
const ARROWS = { ArrowLeft: -1, ArrowRight: 1 };

// Arrows move the slice whatever has the focus, but for what is moved by them itself.
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const slides = event.target.matches("input:not([type=checkbox]), textarea");
  if (event.key in ARROWS && !slides) goTo(state.slice + ARROWS[event.key]);
  else if (slides || event.target.matches("select")) return;
  else if (/^[1-9]$/.test(event.key) && overlays[event.key - 1]?.number >= 0) showOverlay(overlays[event.key - 1].number);
  else if (event.key in KEYS) KEYS[event.key]();
  else return;
  event.preventDefault();
}

const [first, last] = s2Limits(DATA.limits);
[byId("lower").value, byId("upper").value] = [first ?? "", last ?? ""];
if (remembered.z !== undefined) state.slice = sliceNear(remembered.z);
fillHead();
fillTable();
startOverlays();
startSections();
startParticles();
startStage();
listen();
startLevels();
update();
goTo(state.slice);
