// The panel above the table: heights of all candidates, two handles, and the parameter file of what is shown.

const BARS = 80;
let current = null; // the picking that is shown
let showRows = () => {}; // what follows in the table

function startThreshold() {
  byId("particles").hidden = !pickings.size;
  if (!pickings.size) return;
  const choice = byId("picking");
  choice.hidden = pickings.size === 1;
  choice.append(...[...pickings.keys()].map((value) => element("option", { value, textContent: value })));
  choice.addEventListener("change", () => showPicking(choice.value));
  for (const end of ["least", "greatest"]) {
    byId(end).addEventListener("input", () => move(end, Math.round(Number(byId(end).value) * UNIT)));
    byId(end).addEventListener("change", () => showRows(true));
  }
  byId("reset").addEventListener("click", () => {
    Object.assign(current, { least: null, greatest: null });
    showThreshold();
    showRows(true);
  });
  let held = null;
  const plot = byId("heights");
  plot.addEventListener("pointerdown", (event) => {
    plot.setPointerCapture(event.pointerId);
    const at = heightAt(event);
    const far = (end) => Math.abs(at - handleAt(end));
    held = far("least") < far("greatest") || (far("least") === far("greatest") && at < handleAt("least")) ? "least" : "greatest";
    move(held, at);
  });
  plot.addEventListener("pointermove", (event) => plot.hasPointerCapture(event.pointerId) && move(held, heightAt(event)));
  plot.addEventListener("pointerup", () => showRows(true));
  copies("copy-particles", "particles-yaml", "particles-copied");
  showPicking(choice.value);
}

function showPicking(name) {
  current = pickings.get(name);
  const { scale, picks } = current;
  const decimalOf = (units) => String(units / UNIT);
  for (const end of ["least", "greatest"]) {
    Object.assign(byId(end), { min: decimalOf(scale.low), max: decimalOf(scale.high), step: decimalOf(scale.step) });
  }
  [byId("lowest").textContent, byId("highest").textContent] = [decimalOf(scale.low), decimalOf(scale.high)];
  drawBars();
  const held = [...picks.values()].reduce((sum, { marks }) => sum + marks.length, 0);
  named(`Histogram of the heights of ${held.toLocaleString("en")} candidates of all tomograms`, byId("heights"));
  const told = [];
  const more = [...picks.values()].filter(({ marks, total }) => total > marks.length).length;
  if (more) told.push(`Of ${counted(more, "tomogram")} the page has the ${Math.max(...[...picks.values()].map(({ marks }) => marks.length)).toLocaleString("en")} highest candidates only: below the lowest of them, numbers are marked \u2265.`);
  const odd = [...picks.values()].filter((pick) => pick.odd).length;
  if (odd) told.push(`The thresholds of ${counted(odd, "tomogram")} differ much from the median, ${short(current.median)}: they are marked.`);
  byId("picks-notes").textContent = told.join(" ");
  showThreshold();
  showRows(true);
}

function counted(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}

// Heights of bars are square roots, so that the few high ones can be seen.
function drawBars() {
  const counts = new Array(BARS).fill(0);
  const thresholds = [];
  for (const { marks, threshold } of current.picks.values()) {
    for (const mark of marks) counts[Math.min(BARS - 1, Math.floor(BARS * along(mark / 2)))]++;
    thresholds.push(BARS * along(threshold * UNIT));
  }
  const most = Math.max(...counts);
  const tall = (count) => (count ? Math.max(4, 100 * Math.sqrt(count / most)) : 0);
  byId("bars").replaceChildren(...counts.map((count, x) =>
    svgElement("rect", { x: x + 0.08, width: 0.84, y: 100 - tall(count), height: tall(count) })));
  byId("own").setAttribute("d", [...new Set(thresholds)].map((x) => `M${x} 0V9`).join(""));
}

// From 0 to 1 on the scale, of a height in units.
function along(units) {
  const { low, high } = current.scale;
  return Math.max(0, Math.min(1, (units - low) / (high - low)));
}

function nearest(units) {
  const { low, high, step } = current.scale;
  return Math.max(low, Math.min(high, Math.round(units / step) * step));
}

function heightAt(event) {
  const { left, width } = byId("heights").getBoundingClientRect();
  const { low, high } = current.scale;
  return nearest(low + ((high - low) * (event.clientX - left)) / width);
}

// Where a handle stands: one that has not been moved at the median threshold, or at the end.
function handleAt(end) {
  if (current[end] !== null) return current[end];
  return end === "least" ? nearest(current.median * UNIT) : current.scale.high;
}

function move(end, units) {
  if (end === "least") current.least = Math.min(units, handleAt("greatest"));
  else current.greatest = units >= current.scale.high ? null : Math.max(units, handleAt("least"));
  showThreshold();
  showRows(false);
}

function showThreshold() {
  const { least, greatest, scale, picks } = current;
  const [low, high] = [handleAt("least"), handleAt("greatest")];
  [byId("least").value, byId("greatest").value] = [low / UNIT, high / UNIT];
  const [x1, x2] = [low, high].map((units) => BARS * along(units));
  for (const [id, x] of [["least-line", x1], ["greatest-line", x2]]) {
    for (const name of ["x1", "x2"]) byId(id).setAttribute(name, x);
  }
  byId("least").style.zIndex = x1 > BARS / 2 ? 2 : 0; // where both are at one end, one of them can leave it
  [...byId("bars").children].forEach((bar, place) => bar.classList.toggle("kept", place + 0.5 >= x1 && place + 0.5 <= x2));
  const each = [...picks.values()].map((pick) => picked(pick, least, greatest));
  const number = each.reduce((sum, one) => sum + one.number, 0);
  const signs = new Set(each.map(({ sign }) => sign).filter(Boolean));
  const sign = signs.size > 1 ? "about " : [...signs][0] ?? "";
  const total = `${sign}${counted(number, "particle")}`;
  byId("total").value = total;
  byId("from").textContent = `in ${counted(picks.size, "tomogram")}`;
  const own = [...picks.values()].map(({ threshold }) => threshold);
  const [first, last] = [Math.min(...own), Math.max(...own)].map(short);
  const ownText = first === last ? first : `own threshold, ${first} to ${last}`;
  byId("chosen").value = least === null ? ownText : String(least / UNIT);
  byId("up-to").hidden = greatest === null;
  byId("chosen-greatest").value = String((greatest ?? scale.high) / UNIT);
  byId("least").setAttribute("aria-valuetext", `${least === null ? ownText : least / UNIT}; ${total}`);
  byId("greatest").setAttribute("aria-valuetext", `${greatest === null ? "no limit" : greatest / UNIT}; ${total}`);
  byId("reset").disabled = least === null && greatest === null;
  const { text, others } = particlesYaml(current);
  byId("particles-yaml").value = text ?? "# the files do not tell the settings of these particles\n";
  byId("copy-particles").disabled = text === null;
  byId("particles-copied").value = "";
  byId("others").hidden = !others;
  byId("others").textContent = `${counted(others, "tomogram")} ${others === 1 ? "was" : "were"} picked with other settings.`;
}
