// The table: a row for each tomogram, sorted, filtered, and counted by the threshold that is shown.

const tomograms = DATA.tomograms.map((tomogram) => ({ workflows: [], warnings: [], ...tomogram, state: stateOf(tomogram) }));
const names = [...new Set(tomograms.flatMap((tomogram) => tomogram.workflows.map(workflowName)))];
const sorting = { column: "number", descending: false };

function stateOf({ page, failures }) {
  if (page) return "done";
  return failures.length ? "failed" : "waiting";
}

// Columns: what they sort by, null for nothing, and what is in their cells.
const COLUMNS = [
  { id: "number", title: "no.", value: ({ index }) => index, cell: numberCell },
  { id: "picture", title: "picture", cell: pictureCell },
  { id: "name", title: "tomogram", value: ({ name }) => name, cell: nameCell },
  { id: "size", title: "voxel size", value: voxelLength, cell: sizeCell },
  { id: "particles", title: "particles", picked: true, value: (tomogram) => tomogram.shown?.number ?? null, cell: particlesCell },
  { id: "threshold", title: "threshold", hint: "Least height of a particle, as the tomogram was picked", picked: true, value: (tomogram) => pickOf(tomogram)?.threshold ?? null, cell: thresholdCell },
  { id: "warnings", title: "warnings", value: (tomogram) => -problem(tomogram) || null, cell: warningsCell },
  ...names.map((name) => ({
    id: name, title: name, hint: "Fraction of the labelled voxels that have label 1", share: true, value: (tomogram) => shareOf(tomogram, name), cell: (tomogram) => shareCell(tomogram, name),
  })),
].filter(({ picked }) => !picked || pickings.size);

function pickOf({ index }) {
  return current?.picks.get(index);
}

function shareOf({ workflows }, name) {
  return workflows.find((each) => workflowName(each) === name)?.share ?? null;
}

// The side of a cube as large as a voxel.
function voxelLength({ voxelSize }) {
  return voxelSize && Math.min(...voxelSize) > 0 ? Math.cbrt(voxelSize.reduce((product, length) => product * length, 1)) : null;
}

// A message without the path that its row has anyhow.
function brief({ path }, message) {
  return message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
}

// What is odd about a tomogram, a line each.
function warningsOf(tomogram) {
  const pick = pickOf(tomogram);
  const told = tomogram.warnings.map((text) => brief(tomogram, text));
  if (pick?.doubt) told.push(pick.doubt);
  if (pick?.odd) told.push(pick.odd.told);
  if (pick && !pick.count) told.push("no particles");
  return told;
}

// From the worst: 0 failed, 1 failed in part, 2 with warnings, 3 fine or not run.
function rank(tomogram) {
  if (tomogram.failures.length) return tomogram.state === "failed" ? 0 : 1;
  return warningsOf(tomogram).length ? 2 : 3;
}

// A number that is greater the worse it is.
function problem(tomogram) {
  return -((3 - rank(tomogram)) * 1000 + warningsOf(tomogram).length + tomogram.failures.length) || 0;
}

// Cells.

function numberCell({ index }) {
  return element("td", { className: "number quiet", textContent: index });
}

function pictureCell(tomogram) {
  if (!tomogram.page) return element("td");
  const { page, thumbnail, frame } = tomogram;
  const [width, height] = frame ?? [1, 1]; // pages of older versions have none
  const picture = element("img", { src: thumbnail, alt: "", loading: "lazy" });
  tomogram.outlines = svgElement("path", {});
  const circles = svgElement("svg", { class: "circles", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": true });
  circles.append(tomogram.outlines);
  const link = element("a", { href: page, tabIndex: -1, className: "thumbnail" }, picture, circles);
  link.setAttribute("aria-hidden", true); // the name is a link too
  link.style.setProperty("--ratio", width / height);
  return element("td", {}, link);
}

function nameCell({ name, path, page }) {
  const title = page ? element("a", { href: page, textContent: name }) : name;
  const cell = element("th", { scope: "row" }, title, element("div", { className: "quiet path", textContent: path }));
  return cell;
}

function sizeCell({ voxelSize, shape }) {
  const [dz, dy, dx] = voxelSize.map(short);
  const size = dz === dy && dy === dx ? dx : `${dx} \u00d7 ${dy} \u00d7 ${dz}`;
  const known = Math.min(...voxelSize) > 0;
  const [z, y, x] = shape;
  return element("td", {}, known ? `${size} \u00c5` : "unknown", element("div", { className: "quiet", textContent: `${x} \u00d7 ${y} \u00d7 ${z}`, title: "voxels, x y z" }));
}

function particlesCell(tomogram) {
  tomogram.count = element("span", { className: "figure" });
  tomogram.before = element("div", { className: "quiet" });
  return element("td", { className: "number" }, tomogram.count, tomogram.before);
}

function thresholdCell(tomogram) {
  tomogram.threshold = element("span");
  tomogram.beside = element("div", { className: "odd" });
  return element("td", { className: "number" }, tomogram.threshold, tomogram.beside);
}

function warningsCell(tomogram) {
  tomogram.told = element("td", { className: "told" });
  return tomogram.told;
}

function fillWarnings(tomogram) {
  const { told, state, failures } = tomogram;
  const parts = failures.map(({ part, message }) =>
    element("div", {}, element("strong", { className: "failure", textContent: `${part ? `${part} ` : ""}failed` }), `: ${brief(tomogram, message)}`));
  if (state === "waiting") parts.push(element("span", { className: "quiet", textContent: "not run yet" }));
  const warnings = warningsOf(tomogram);
  const list = element("ul", {}, ...warnings.map((textContent) => element("li", { textContent })));
  const one = warnings.length === 1 && warnings[0].length < 40;
  if (one) parts.push(element("div", { textContent: warnings[0] }));
  else if (warnings.length) parts.push(element("details", {}, element("summary", { textContent: counted(warnings.length, "warning") }), list));
  told.replaceChildren(...parts);
}

function shareCell(tomogram, name) {
  const share = shareOf(tomogram, name);
  if (share === null) return element("td", { className: "number share", textContent: tomogram.page ? "\u2013" : "" });
  const bar = element("div", { className: "bar" });
  bar.style.width = percent(share);
  return element("td", { className: "number share" }, percent(share), bar);
}

// The table.

function startTable() {
  for (const { id, title, hint = "", value, picked, share } of COLUMNS) {
    const head = element("th", { scope: "col", className: `${picked ? "number" : ""}${share ? "number share" : ""}` });
    if (value) {
      const button = element("button", { type: "button", textContent: title, title: hint });
      button.addEventListener("click", () => sortBy(id));
      head.append(button);
    } else head.append(title);
    head.dataset.column = id;
    byId("columns").append(head);
  }
  for (const tomogram of tomograms) {
    tomogram.row = element("tr", { className: tomogram.state }, ...cellsOf(tomogram));
    tomogram.row.dataset.index = tomogram.index;
    tomogram.words = `${tomogram.index} ${tomogram.name} ${tomogram.path}`.toLowerCase();
  }
  byId("filter").addEventListener("input", filterRows);
  byId("problems").addEventListener("change", sortRows);
  byId("shares").checked = !pickings.size; // then the table has little else
  byId("shares").addEventListener("change", showShares);
  byId("shares").parentElement.hidden = !names.length;
  byId("table").style.setProperty("--shares", names.length);
  showShares();
  showRows = (settled) => {
    countRows();
    if (settled) sortRows();
  };
  showRows(true);
  filterRows();
}

// Without a page, what there is to say takes the place of the figures.
function cellsOf(tomogram) {
  if (tomogram.page) return COLUMNS.map(({ cell }) => cell(tomogram));
  const figures = COLUMNS.filter(({ id, picked }) => id === "size" || picked);
  const cells = COLUMNS.filter((column) => !figures.includes(column)).map(({ cell }) => cell(tomogram));
  tomogram.told.colSpan = figures.length + 1;
  return cells;
}

function showShares() {
  byId("table").classList.toggle("with-shares", byId("shares").checked);
}

function countRows() {
  for (const tomogram of tomograms) {
    const pick = pickOf(tomogram);
    if (!pick) {
      tomogram.shown = null;
      for (const each of [tomogram.before, tomogram.threshold, tomogram.beside]) each?.replaceChildren();
      tomogram.count?.replaceChildren("\u2013");
      tomogram.outlines?.setAttribute("d", "");
      continue;
    }
    const { least, greatest } = current;
    const shown = (tomogram.shown = picked(pick, least, greatest));
    tomogram.count.textContent = `${shown.sign}${shown.number.toLocaleString("en")}`;
    tomogram.before.textContent = least === null && greatest === null ? "" : `picked ${pick.count.toLocaleString("en")}`;
    tomogram.threshold.textContent = short(pick.threshold);
    tomogram.beside.textContent = pick.odd?.beside ?? "";
    const end = shown.first + shown.number;
    const kept = pick.circles.filter(({ rank }) => rank >= shown.first && rank < end);
    tomogram.outlines.setAttribute("d", kept.map(({ outline }) => outline).join(""));
  }
}

function sortBy(id) {
  sorting.descending = sorting.column === id && !sorting.descending;
  sorting.column = id;
  sortRows();
}

// What has no value stays at the end, whatever the direction; ties stay in the order of the dataset.
function sortRows() {
  for (const head of byId("columns").children) {
    const here = head.dataset.column === sorting.column;
    if (head.querySelector("button")) head.setAttribute("aria-sort", here ? (sorting.descending ? "descending" : "ascending") : "none");
  }
  for (const tomogram of tomograms) fillWarningsIfChanged(tomogram);
  const { value } = COLUMNS.find(({ id }) => id === sorting.column);
  const first = byId("problems").checked;
  const keys = new Map(tomograms.map((each) => [each, { value: value(each), rank: first ? rank(each) : 0 }]));
  const sorted = [...tomograms].sort((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    if (a.rank !== b.rank) return a.rank - b.rank;
    if ((a.value === null) !== (b.value === null)) return a.value === null ? 1 : -1;
    const order = a.value === null ? 0 : compare(a.value, b.value);
    return (sorting.descending ? -order : order) || one.index - other.index;
  });
  byId("rows").append(...sorted.map(({ row }) => row));
}

const words = new Intl.Collator("en", { numeric: true });

function compare(one, other) {
  return typeof one === "string" ? words.compare(one, other) : one - other;
}

// Warnings depend on the picking alone; what a reader has opened stays open.
function fillWarningsIfChanged(tomogram) {
  if (tomogram.warningsOf === current) return;
  tomogram.warningsOf = current;
  fillWarnings(tomogram);
}

function filterRows() {
  const wanted = byId("filter").value.trim().toLowerCase();
  let shown = 0;
  for (const { row, words } of tomograms) {
    row.hidden = !words.includes(wanted);
    shown += !row.hidden;
  }
  byId("filtered").value = wanted ? `${shown.toLocaleString("en")} of ${tomograms.length.toLocaleString("en")}` : "";
}
