// Candidates of each picking, in an order, and which of them two handles leave.

const picked = DATA.picked.map((each) => {
  const numbers = unpacked(each.candidates);
  const sizes = each.sizes && unpacked(each.sizes);
  const candidates = [];
  for (let n = 0; n < numbers.length; n += 4) {
    const [z, y, x, height] = numbers.subarray(n, n + 4);
    candidates.push({ number: n / 4, z, y, x, height, diameter: sizes ? sizes[n / 4] : each.diameter }); // highest first
  }
  const picks = { ...each, candidates, answers: [], answered: new Map(), crowded: new Set(), skipped: new Set(), history: [], asked: null };
  picks.descriptors = unpackedDescriptors(each.descriptors);
  picks.byHeight = rankingByHeight(picks);
  picks.ranking = picks.byHeight;
  return picks;
});
let current = picked[0];

function unpacked(text) {
  return new Float64Array(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

// A ranking: `order`, numbers of candidates from the highest value on, and `values` by these numbers. Handles,
// `least` and `greatest`, are null until they are moved; then so many are picked as the run did, from rank
// `first` on.
function rankingByHeight({ candidates, threshold, first, count, settings }) {
  const values = Float64Array.from(candidates, ({ height }) => height);
  const [least, greatest] = [null, null];
  const ownGreatest = settings?.max_height ?? Infinity;
  const order = Int32Array.from(candidates.keys());
  // With answers in its settings the run has ranked by them.
  const called = settings?.choices && values.every((value) => value >= 0 && value <= 1) ? "probability" : "height";
  const most = settings?.max_particles;
  return { called, values, order, ranks: order, scale: scaleOf([...values, threshold]), threshold, ownGreatest, first, count, most, least, greatest };
}

// Ends and step of a scale over some values, all of them round numbers.
function scaleOf(values) {
  const low = values.reduce((one, other) => Math.min(one, other), Infinity);
  const high = values.reduce((one, other) => Math.max(one, other), -Infinity);
  const step = roundStep((high - low || 0.1) / 200);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const round = (times) => Number((step * times).toFixed(digits));
  return {
    step: round(1),
    low: round(Math.floor(low / step - 1e-9)), // all stay
    high: round(Math.floor(high / step + 1e-9) + 1), // none stays
    nearest: (value) => round(Math.round(value / step)),
    text: String,
    read: Number,
  };
}

function leastOf({ least, threshold }) {
  return least ?? threshold;
}

function greatestOf({ greatest, ownGreatest }) {
  return greatest ?? ownGreatest;
}

// Ranks of those that the handles leave: the first of them, and the first that is none of them.
function boundsOf(ranking) {
  const { least, greatest, first, count, most = Infinity } = ranking;
  if (least === null && greatest === null && count !== null) return [first, first + count];
  const [begin, end] = rangeOf(ranking);
  return [begin, Math.min(begin + most, end)];
}

// Ranks from the least to the greatest height, however many.
function rangeOf(ranking) {
  const { values, order } = ranking;
  const [low, high] = [leastOf(ranking), greatestOf(ranking)];
  const begin = firstRank(order, (number) => values[number] <= high);
  return [begin, Math.max(begin, firstRank(order, (number) => values[number] < low))];
}

// The first rank that is true, where all that follow are too.
function firstRank(order, isPast) {
  let [begin, end] = [0, order.length];
  while (begin < end) {
    const middle = (begin + end) >> 1;
    if (isPast(order[middle])) end = middle;
    else begin = middle + 1;
  }
  return begin;
}

// What is picked: what a hand has added, then candidates by rank. A hand's answer always holds; others
// keep the spacing from what was added.
function pickedOf(picks) {
  const isIn = isPickedBy(picks);
  const added = picks.answers.filter(({ place, good }) => good && place.added).map(({ place }) => place);
  return [...added, ...Array.from(picks.ranking.order, (number) => picks.candidates[number]).filter(isIn)];
}

// Tells of a place whether it is picked.
function isPickedBy(picks) {
  const { ranking, candidates, answers, answered, crowded } = picks;
  const { ranks, order, most } = ranking;
  const isOpen = (place) => !answered.has(place) && !crowded.has(place);
  let [begin, end] = boundsOf(ranking);
  if (answers.length && most !== undefined) {
    // Good ones are among the greatest number; others take the places of bad ones.
    let left = most - answers.filter(({ good }) => good).length;
    const past = rangeOf(ranking)[1];
    for (end = begin; end < past && left > 0; end++) left -= isOpen(candidates[order[end]]);
  }
  return (place) => {
    const answer = answered.get(place);
    if (answer || place.added) return Boolean(answer?.good);
    const rank = ranks[place.number];
    return rank >= begin && rank < end && isOpen(place);
  };
}

// What they are called: their name, if they have one, and the workflow.
function picksName({ name, ...workflow }) {
  return name ? `${name} (${workflowName(workflow)})` : workflowName(workflow);
}
