// Picks of all tomograms, and how many there are by another threshold.

// Thresholds are counted in units of the last decimal; a height of n units has the mark 2 n, one between
// n and n + 1 has 2 n + 1. So marks compare as the heights do, to the last bit.
const UNIT = 10 ** 5;

// A picking is what one setting has picked in each tomogram. Its picks are by the index of the tomogram.
const pickings = new Map();

// What tells pickings apart.
function pickingName({ name, picking, ...workflow }) {
  const from = [workflowName(workflow), picking].filter(Boolean).join(", ");
  return name ? `${name}, from ${from}` : from;
}

for (const { index, picks } of DATA.tomograms) {
  for (const each of picks ?? []) {
    const key = pickingName(each);
    if (!pickings.has(key)) pickings.set(key, { name: key, picks: new Map() });
    const { circles, steps, ...pick } = each;
    pickings.get(key).picks.set(index, { ...pick, marks: unpackedMarks(pick.highest, steps), circles: unpackedCircles(circles) });
  }
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// Marks, highest first; each step down is a number of seven bits a byte, the lowest first.
function unpackedMarks(highest, steps) {
  if (steps === null) return new Int32Array(0);
  const bytes = bytesOf(steps);
  const marks = [highest];
  let [step, shift] = [0, 0];
  for (const byte of bytes) {
    step += (byte & 127) * 2 ** shift;
    shift = byte & 128 ? shift + 7 : 0;
    if (shift) continue;
    marks.push(marks[marks.length - 1] - step);
    step = 0;
  }
  return Int32Array.from(marks);
}

// Candidates that the picture's slice cuts, highest first: the rank of each, and its outline.
function unpackedCircles(text) {
  const numbers = new Uint16Array(bytesOf(text).buffer);
  const circles = [];
  for (let n = 0; n < numbers.length; n += 4) {
    const [rank, x, y, r] = numbers.subarray(n, n + 4);
    circles.push({ rank, outline: `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0` });
  }
  return circles;
}

// How many marks, which descend, are at least `least`.
function countFrom(marks, least) {
  let [begin, end] = [0, marks.length];
  while (begin < end) {
    const middle = (begin + end) >> 1;
    if (marks[middle] >= least) begin = middle + 1;
    else end = middle;
  }
  return begin;
}

// Particles of a tomogram from a least to a greatest height, in units: `number` of them from rank
// `first` on. Null stands for its own limits, and Infinity for no greatest. A page does not hold all candidates
// of a crowded tomogram: `sign` is ">=" or "<=" where the number is a bound.
function picked(pick, least, greatest) {
  const { marks, total, first: own = 0, above, settings } = pick;
  const most = settings.max_particles ?? Infinity;
  const lowest = marks[marks.length - 1];
  const more = total > marks.length;
  const first = greatest === null ? own : countFrom(marks, 2 * greatest + 1);
  const all = least === null ? above : countFrom(marks, 2 * least);
  const number = Math.min(most, Math.max(0, all - first));
  if (more && greatest !== null && lowest > 2 * greatest) {
    return { first, number: Math.min(most, least === null ? number : total - first), sign: "\u2264 " };
  }
  const unseen = more && least !== null && lowest >= 2 * least && number < most;
  return { first, number, sign: unseen ? "\u2265 " : "" };
}

// Ends and step of a scale for heights, in units; all of them are round numbers, and thresholds that a
// parameter file may have.
function scaleOf(picks) {
  let [low, high] = [Infinity, -Infinity];
  for (const { marks, threshold } of picks) {
    const own = threshold * UNIT;
    low = Math.min(low, own, marks.length ? marks[marks.length - 1] / 2 : own);
    high = Math.max(high, own, marks.length ? marks[0] / 2 : own);
  }
  const step = roundStep(Math.max(1, (high - low) / 200));
  const ends = [Math.floor(low / step) * step, (Math.floor(high / step) + 1) * step];
  const { source = "both" } = picks[0].settings;
  const [least, most] = source === "both" ? ends : [Math.max(0, ends[0]), Math.min(UNIT, ends[1])];
  return {
    ...{ step, low: least, high: most },
    nearest: (units) => Math.max(least, Math.min(most, Math.round(units / step) * step)),
    text: (units) => String(units / UNIT),
    read: (text) => Math.round(Number(text) * UNIT),
  };
}

// The middle one, or between both in the middle.
function median(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// A tomogram's threshold is odd where that of the median tomogram would make a third more or less of its
// particles, and three or more.
function describeOdd(pick, middle) {
  const { above, first = 0, threshold } = pick;
  const { number } = picked({ ...pick, settings: {} }, Math.ceil(middle * UNIT), null);
  if (Math.abs(number + first - above) < Math.max(3, (above - first) / 3)) return null;
  const far = Math.abs(threshold - middle);
  const beside = `${Number(far.toPrecision(2))} ${threshold > middle ? "above" : "below"} the median`;
  return { beside, told: `threshold ${short(threshold)} is ${beside} of all tomograms, ${short(middle)}, by which there would be ${number.toLocaleString("en")} particles` };
}

for (const picking of pickings.values()) {
  const picks = [...picking.picks.values()];
  picking.scale = scaleOf(picks);
  picking.median = median(picks.map(({ threshold }) => threshold));
  const limits = new Set(picks.map(({ settings }) => settings.max_height ?? Infinity));
  picking.isLimited = limits.size > 1 || !limits.has(Infinity);
  picking.ownGreatest = limits.size === 1 ? UNIT * [...limits][0] : Infinity; // in units
  for (const pick of picks) pick.odd = describeOdd(pick, picking.median);
  Object.assign(picking, { least: null, greatest: null }); // in units, as the handles are; null: not moved
}

// The `particles` mapping of a parameter file with what is shown, and how many have other settings.
function particlesYaml(picking) {
  const texts = [...picking.picks.values()].map((pick) => {
    const alone = [...pickings.values()].filter(({ picks }) => sameName(picks, pick.name)).length === 1;
    const least = picking.least === null ? pick.settings.threshold : picking.least / UNIT;
    const greatest = picking.greatest === null ? pick.settings.max_height : picking.greatest / UNIT;
    return particlesText(pick, alone, least, greatest === Infinity ? undefined : greatest);
  });
  const counts = new Map();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  const [text, count] = [...counts].sort(([, one], [, other]) => other - one)[0];
  return { text, others: texts.length - count };
}

function sameName(picks, name) {
  return [...picks.values()].some((pick) => pick.name === name);
}
