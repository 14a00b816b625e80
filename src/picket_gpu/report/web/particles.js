// Picked particles: circles on the slices, the threshold of their heights, and files of what is shown.

const picked = DATA.picked.map((each) => {
  const numbers = unpacked(each.candidates);
  const sizes = each.sizes && unpacked(each.sizes);
  const candidates = [];
  for (let n = 0; n < numbers.length; n += 4) {
    const [z, y, x, height] = numbers.subarray(n, n + 4);
    candidates.push({ z, y, x, height, diameter: sizes ? sizes[n / 4] : each.diameter }); // highest first
  }
  return { ...each, candidates, scale: heightScale(candidates, each.threshold), chosen: each.threshold, kept: each.count };
});
let current = picked[0];
const BARS = 40;

function unpacked(text) {
  return new Float64Array(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

// Ends and step of a slider over all heights and the threshold, all of them round numbers.
function heightScale(candidates, threshold) {
  const heights = [threshold, ...candidates.map(({ height }) => height)];
  const [low, high] = [Math.min(...heights), Math.max(...heights)];
  const about = (high - low || 0.1) / 200;
  const power = 10 ** Math.floor(Math.log10(about));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= about);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const round = (value) => Number((step * value).toFixed(digits));
  return {
    step: round(1),
    low: round(Math.floor(low / step - 1e-9)), // all stay
    high: round(Math.floor(high / step + 1e-9) + 1), // none stays
    nearest: (value) => round(Math.round(value / step)),
  };
}

// What they are called: their name, if they have one, and the workflow.
function picksName({ name, ...workflow }) {
  return name ? `${name} (${workflowName(workflow)})` : workflowName(workflow);
}

// Those that are picked.
function keptOf({ candidates, first, kept }) {
  return candidates.slice(first, first + kept);
}

function drawCircles({ circles }, z) {
  const cuts = current && byId("circles").checked ? cutsOf(current, z) : [];
  circles.replaceChildren(...cuts.map((cut) => svgElement("circle", cut)));
}

// Where spheres of the particles' size cut a slice, in angstrom from the picture's corner.
function cutsOf(picks, z) {
  const [dz, dy, dx] = DATA.voxelSize;
  const cuts = [];
  for (const place of keptOf(picks)) {
    const square = (place.diameter / 2) ** 2 - ((place.z - z) * dz) ** 2;
    if (square > 0) cuts.push({ cx: (place.x + 0.5) * dx, cy: (place.y + 0.5) * dy, r: Math.sqrt(square) });
  }
  return cuts;
}

// The panel: a histogram with the threshold as a line, and a slider below it.

function showPicks(number) {
  current = picked[number];
  orderOverlays(current);
  const { candidates, scale, total, diameter, stem, files, starName, how, doubt, sizes } = current;
  const slider = byId("threshold");
  [slider.min, slider.max, slider.step] = [scale.low, scale.high, scale.step];
  [byId("lowest").textContent, byId("highest").textContent] = [short(scale.low), short(scale.high)];
  const counts = new Array(BARS).fill(0);
  for (const { height } of candidates) counts[Math.floor(BARS * along(height))]++;
  const tall = (count) => (count ? Math.max(4, 100 * Math.sqrt(count / Math.max(...counts))) : 0);
  const bars = counts.map((count, x) =>
    svgElement("rect", { x: x + 0.08, width: 0.84, y: 100 - tall(count), height: tall(count) }),
  );
  byId("bars").replaceChildren(...bars);
  byId("scores").hidden = !candidates.length;
  named(`Histogram of the heights of ${candidates.length} candidates`, byId("heights"));
  byId("save-star").disabled = starName === null;
  byId("save-star").title = starName === null ? "this tomogram's name cannot stand in a star file" : "";
  const told = [`From ${picksName(current)}${how}.`];
  if (doubt) told.push(`${doubt}.`);
  if (!candidates.length) told.push("No candidates.");
  else if (sizes) told.push("Circles: where the slice cuts spheres of each one's diameter.");
  else if (diameter) told.push(`Circles: where the slice cuts spheres ${short(diameter)} \u00c5 in diameter.`);
  else told.push("No circles: the diameter is not known.");
  if (total > candidates.length) {
    told.push(`This page holds the ${candidates.length.toLocaleString("en")} highest of ${total.toLocaleString("en")} candidates.`);
  }
  const names = files.map((name, place) => (place && name.startsWith(stem) ? name.slice(stem.length) : name));
  told.push(`Files: ${names.join(", ")}`);
  byId("picked-notes").textContent = told.join(" ");
  showThreshold();
}

// From 0 to 1 on the slider.
function along(height) {
  const { low, high } = current.scale;
  return (height - low) / (high - low);
}

function choose(threshold) {
  const { scale, candidates } = current;
  current.chosen = Math.max(scale.low, Math.min(scale.high, threshold));
  current.kept = Math.max(0, candidates.filter(({ height }) => height >= current.chosen).length - current.first);
  showThreshold();
}

function showThreshold() {
  const { chosen, kept, threshold, count, candidates } = current;
  byId("threshold").value = chosen;
  const text = `${kept.toLocaleString("en")} of ${candidates.length.toLocaleString("en")}`;
  byId("kept").value = text;
  byId("chosen").value = short(chosen);
  byId("threshold").setAttribute("aria-valuetext", `${short(chosen)}, ${text} picked`);
  const x = BARS * along(chosen);
  for (const name of ["x1", "x2"]) byId("line").setAttribute(name, x);
  [...byId("bars").children].forEach((bar, place) => bar.classList.toggle("kept", place + 0.5 >= x));
  byId("reset").disabled = chosen === threshold && kept === count;
  drawAllCircles();
}

function dragTo(event) {
  const { left, width } = byId("heights").getBoundingClientRect();
  const { low, high, nearest } = current.scale;
  choose(nearest(low + ((high - low) * (event.clientX - left)) / width));
}

// Files, as a run writes them.

function csvText(picks) {
  const { origin, sizes } = picks;
  const [dz, dy, dx] = DATA.voxelSize;
  const lines = keptOf(picks).map(({ z, y, x, height, diameter }) => {
    const row = [x * dx + origin[0], y * dy + origin[1], z * dz + origin[2], height, x, y, z];
    return [...row, ...(sizes ? [diameter] : [])].map(exactly).join(",");
  });
  const head = `x_angstrom,y_angstrom,z_angstrom,score,x,y,z${sizes ? ",diameter_angstrom" : ""}`;
  return [head, ...lines, ""].join("\n");
}

// For RELION 5: angstrom from where it counts.
function starText(picks) {
  const { chosen, starName, starHead, centre } = picks;
  const centred = (place, axis) => (place - centre[axis]) * DATA.voxelSize[axis];
  const lines = keptOf(picks).map(({ z, y, x, height }) =>
    [...[centred(x, 2), centred(y, 1), centred(z, 0), height].map(sixDecimals), starName].join("\t"),
  );
  const names = [..."XYZ"].map((axis) => `rlnCenteredCoordinate${axis}Angst`);
  const head = [...names, "rlnAutopickFigureOfMerit", "rlnTomoName"].map((name, place) => `_${name} #${place + 1}`);
  const threshold = `# threshold ${Number(chosen.toPrecision(6))}`;
  return [starHead + threshold, "", "", "data_particles", "", "loop_", ...head, ...lines, "", "", ""].join("\n");
}

// A float64 as Python writes it: as short as reads back the same, with a point or an exponent.
function exactly(value) {
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e16)) return value.toExponential().replace(/([+-])(\d)$/, "$10$2");
  const text = Object.is(value, -0) ? "-0" : String(value);
  return Number.isInteger(value) ? `${text}.0` : text;
}

// Half a last decimal, which only odd 128ths have, becomes even, as in C; toFixed takes it away from 0.
function sixDecimals(value) {
  return (Math.abs(value * 128) % 2 === 1 ? (2 * Math.round(value * 5e5)) / 1e6 : value).toFixed(6);
}

function save(text, ending) {
  const { stem, chosen, kept, count } = current;
  const link = element("a", { download: stem + (kept === count ? "" : `_threshold_${short(chosen)}`) + ending });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // when it is on disk
}

function startParticles() {
  byId("particles").hidden = !picked.length;
  if (!picked.length) return;
  const choice = byId("picked");
  choice.hidden = picked.length === 1;
  choice.append(...picked.map((each, value) => element("option", { value, textContent: picksName(each) })));
  choice.addEventListener("change", () => {
    showPicks(choice.value);
    showOverlay(overlays[0].number);
  });
  byId("threshold").addEventListener("input", () => choose(Number(byId("threshold").value)));
  byId("circles").addEventListener("change", drawAllCircles);
  byId("reset").addEventListener("click", () => {
    [current.chosen, current.kept] = [current.threshold, current.count];
    showThreshold();
  });
  byId("save-csv").addEventListener("click", () => save(csvText(current), ".csv"));
  byId("save-star").addEventListener("click", () => save(starText(current), ".star"));
  const plot = byId("heights");
  plot.addEventListener("pointerdown", (event) => {
    plot.setPointerCapture(event.pointerId);
    dragTo(event);
  });
  plot.addEventListener("pointermove", (event) => plot.hasPointerCapture(event.pointerId) && dragTo(event));
  showPicks(0);
  if (remembered.overlay === undefined) state.overlay = overlays[0].number;
}

