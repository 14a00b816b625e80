// A histogram with two handles, the least and the greatest height of a particle. A scale has ends, low and
// high, a step, and says which number on it is nearest to another, and what a number is as text.

const BARS = 80;
const handles = { scale: null, least: 0, greatest: 0 };

// `move` is told which handle is moved and where to, `settle` when it has been let go.
function startHandles(move, settle = () => {}) {
  const moved = (end, value) =>
    move(end, end === "least" ? Math.min(value, handles.greatest) : Math.max(value, handles.least));
  for (const end of ["least", "greatest"]) {
    byId(end).addEventListener("input", () => moved(end, handles.scale.read(byId(end).value)));
    byId(end).addEventListener("change", settle);
  }
  let held = null;
  const plot = byId("heights");
  plot.addEventListener("pointerdown", (event) => {
    plot.setPointerCapture(event.pointerId);
    const at = heightAt(event);
    const far = (end) => Math.abs(at - handles[end]);
    held = far("least") < far("greatest") || (far("least") === far("greatest") && at < handles.least) ? "least" : "greatest";
    moved(held, at);
  });
  plot.addEventListener("pointermove", (event) => plot.hasPointerCapture(event.pointerId) && moved(held, heightAt(event)));
  plot.addEventListener("pointerup", settle);
}

// The scale, and a bar for each part of it. Bars are square roots, so that the few high ones can be seen.
function drawHeights(scale, heights, thresholds) {
  handles.scale = scale;
  for (const end of ["least", "greatest"]) {
    Object.assign(byId(end), { min: scale.text(scale.low), max: scale.text(scale.high), step: scale.text(scale.step) });
  }
  [byId("lowest").textContent, byId("highest").textContent] = [scale.text(scale.low), scale.text(scale.high)];
  const counts = new Array(BARS).fill(0);
  for (const height of heights) counts[Math.min(BARS - 1, Math.floor(BARS * along(height)))]++;
  const most = Math.max(...counts);
  const tall = (count) => (count ? Math.max(4, 100 * Math.sqrt(count / most)) : 0);
  byId("bars").replaceChildren(...counts.map((count, x) =>
    svgElement("rect", { x: x + 0.08, width: 0.84, y: 100 - tall(count), height: tall(count) })));
  const places = new Set(thresholds.map((threshold) => BARS * along(threshold)));
  byId("own").setAttribute("d", [...places].map((x) => `M${x} 0V9`).join(""));
}

function placeHandles(least, greatest) {
  Object.assign(handles, { least, greatest });
  [byId("least").value, byId("greatest").value] = [least, greatest].map(handles.scale.text);
  const [x1, x2] = [least, greatest].map((height) => BARS * along(height));
  for (const [id, x] of [["least-line", x1], ["greatest-line", x2]]) {
    for (const name of ["x1", "x2"]) byId(id).setAttribute(name, x);
  }
  byId("least").style.zIndex = x1 > BARS / 2 ? 2 : 0; // where both are at one end, one of them can leave it
  [...byId("bars").children].forEach((bar, place) => bar.classList.toggle("kept", place + 0.5 >= x1 && place + 0.5 <= x2));
}

// From 0 to 1 on the scale.
function along(height) {
  const { low, high } = handles.scale;
  return Math.max(0, Math.min(1, (height - low) / (high - low)));
}

function heightAt(event) {
  const { left, width } = byId("heights").getBoundingClientRect();
  const { low, high, nearest } = handles.scale;
  return nearest(low + ((high - low) * (event.clientX - left)) / width);
}

// The least of 1, 2 and 5 times a power of ten that is not below a number.
function roundStep(about) {
  const power = 10 ** Math.floor(Math.log10(about) + 1e-9);
  return power * [1, 2, 5, 10].find((factor) => factor * power >= about * (1 - 1e-9));
}
