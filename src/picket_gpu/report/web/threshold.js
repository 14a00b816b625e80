// The panel above the table: heights of all candidates, two handles, and the parameter file of what is shown.

let current = null; // the picking that is shown
let showRows = () => {}; // what follows in the table

function startThreshold() {
  byId("particles").hidden = !pickings.size;
  if (!pickings.size) return;
  const choice = byId("picking");
  choice.hidden = pickings.size === 1;
  choice.append(...[...pickings.keys()].map((value) => element("option", { value, textContent: value })));
  choice.addEventListener("change", () => showPicking(choice.value));
  startHandles(move, () => showRows(true));
  byId("reset").addEventListener("click", () => {
    Object.assign(current, { least: null, greatest: null });
    showThreshold();
    showRows(true);
  });
  copies("copy-particles", "particles-yaml", "particles-copied");
  showPicking(choice.value);
}

function showPicking(name) {
  current = pickings.get(name);
  const { scale, picks } = current;
  const heights = [...picks.values()].flatMap(({ marks }) => [...marks].map((mark) => mark / 2));
  drawHeights(scale, heights, [...picks.values()].map(({ threshold }) => threshold * UNIT));
  named(`Histogram of the heights of ${heights.length.toLocaleString("en")} candidates of all tomograms`, byId("heights"));
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

// Where a handle stands: one that has not been moved at the median threshold, or at the end.
function handleAt(end) {
  if (current[end] !== null) return current[end];
  return end === "least" ? current.scale.nearest(current.median * UNIT) : Math.min(current.ownGreatest, current.scale.high);
}

function move(end, units) {
  const none = current.isLimited ? Infinity : null;
  current[end] = end === "greatest" && units >= current.scale.high ? none : units;
  showThreshold();
  showRows(false);
}

function showThreshold() {
  const { least, greatest, scale, picks } = current;
  placeHandles(handleAt("least"), handleAt("greatest"));
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
  const limit = greatest ?? current.ownGreatest;
  byId("up-to").hidden = limit === Infinity;
  byId("chosen-greatest").value = limit === Infinity ? "" : String(limit / UNIT);
  byId("least").setAttribute("aria-valuetext", `${least === null ? ownText : least / UNIT}; ${total}`);
  byId("greatest").setAttribute("aria-valuetext", `${limit === Infinity ? "no limit" : limit / UNIT}; ${total}`);
  byId("reset").disabled = least === null && greatest === null;
  const { text, others } = particlesYaml(current);
  byId("particles-yaml").value = text ?? `${whyNoText([...picks.values()])}\n`;
  byId("copy-particles").disabled = text === null;
  byId("particles-copied").value = "";
  byId("others").hidden = !others;
  byId("others").textContent = `${counted(others, "tomogram")} ${others === 1 ? "was" : "were"} picked with other settings.`;
}
