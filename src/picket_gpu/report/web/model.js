// The model of answers: kernel ridge regression on descriptors, float64, as particles/choices.py has it.

const NUMBERS = 23; // of a descriptor
const LEAST_ANSWERS = 5; // from which on the model ranks
const BACKGROUND = 10; // candidates of the lower half that count as bad
const [LIKENESS, COMMON, NOISE, GOOD] = [9, 9, 1, 2];

// Descriptors of the first candidates, one after the other; null where there are none.
function unpackedDescriptors(text) {
  if (!text) return null;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return Float64Array.from(new Int16Array(bytes.buffer), (number) => number / 8000);
}

function kernel(one, other) {
  let square = 0;
  for (let n = 0; n < NUMBERS; n++) square += (one[n] - other[n]) ** 2;
  return LIKENESS * Math.exp(-square / (2 * NUMBERS)) + COMMON;
}

// The lower triangle L of K + 1 = L L', from what the model learns from: {descriptor, m, y}.
function cholesky(learned) {
  const lower = learned.map(() => new Float64Array(learned.length));
  for (let i = 0; i < learned.length; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = kernel(learned[i].descriptor, learned[j].descriptor) + (i === j ? NOISE : 0);
      for (let k = 0; k < j; k++) sum -= lower[i][k] * lower[j][k];
      lower[i][j] = i === j ? Math.sqrt(sum) : sum / lower[j][j];
    }
  }
  return lower;
}

// (L L')^-1 b
function solve(lower, b) {
  const x = Float64Array.from(b);
  for (let i = 0; i < x.length; i++) {
    for (let k = 0; k < i; k++) x[i] -= lower[i][k] * x[k];
    x[i] /= lower[i][i];
  }
  for (let i = x.length - 1; i >= 0; i--) {
    for (let k = i + 1; k < x.length; k++) x[i] -= lower[k][i] * x[k];
    x[i] /= lower[i][i];
  }
  return x;
}

// f = m + k(x, A) (K(A, A) + 1)^-1 (y - m_A) of each example, {descriptor, m}.
function oddsOf(learned, examples) {
  const weights = solve(cholesky(learned), learned.map(({ y, m }) => y - m));
  return Float64Array.from(examples, ({ descriptor, m }) =>
    learned.reduce((sum, each, n) => sum + kernel(descriptor, each.descriptor) * weights[n], m));
}

// f of each learned example by all others (Rasmussen & Williams 2006, eq. 5.12).
function oddsWithout(learned) {
  const lower = cholesky(learned);
  const weights = solve(lower, learned.map(({ y, m }) => y - m));
  return learned.map(({ y }, n) => {
    const unit = new Float64Array(learned.length);
    unit[n] = 1;
    return y - weights[n] / solve(lower, unit)[n];
  });
}

// Otsu's threshold over all splits, as particles/threshold.py has it.
function otsu(values) {
  const ordered = Float64Array.from(values).sort();
  const count = ordered.length;
  if (!count || ordered[0] === ordered[count - 1]) return ordered[0] ?? 0;
  const total = ordered.reduce((sum, value) => sum + value, 0);
  let [best, split, sum] = [-1, 0, 0];
  for (let below = 1; below < count; below++) {
    sum += ordered[below - 1];
    const apart = (total - sum) / (count - below) - sum / below;
    const variance = below * (count - below) * apart ** 2;
    if (variance > best) [best, split] = [variance, below - 1];
  }
  return (ordered[split] + ordered[split + 1]) / 2;
}

// What the model sees of a candidate; null for an added place, or one without a descriptor.
function exampleOf({ descriptors }, place) {
  const begin = NUMBERS * place.number;
  if (!descriptors || place.added || begin >= descriptors.length) return null;
  return { descriptor: descriptors.subarray(begin, begin + NUMBERS), m: place.height };
}

function answeredExamples(picks) {
  return picks.answers
    .map((answer) => ({ ...exampleOf(picks, answer.place), ...answer, y: answer.good ? GOOD : -GOOD }))
    .filter(({ descriptor }) => descriptor);
}

// Candidates of the lower half by rank that count as bad, unless they are answered.
function backgroundOf({ candidates, descriptors, answered }) {
  const count = descriptors ? descriptors.length / NUMBERS : 0;
  const half = Math.floor(count / 2);
  const ranks = Array.from({ length: count ? BACKGROUND : 0 }, (_, i) => Math.floor(half + ((i + 0.5) * (count - half)) / BACKGROUND));
  return [...new Set(ranks)].map((rank) => candidates[rank]).filter((place) => !answered.has(place));
}

function learnedFrom(picks) {
  const bad = backgroundOf(picks).map((place) => ({ ...exampleOf(picks, place), y: -GOOD }));
  return [...answeredExamples(picks), ...bad];
}

// Candidates by the probability 1 / (1 + exp(-f)); null where answers are too few. Those without a
// descriptor come last.
function rankingByAnswers(picks) {
  if (answeredExamples(picks).length < LEAST_ANSWERS) return null;
  const { candidates, descriptors, byAnswers, settings } = picks;
  const described = candidates.slice(0, descriptors.length / NUMBERS);
  const odds = oddsOf(learnedFrom(picks), described.map((place) => exampleOf(picks, place)));
  const values = Float64Array.from(candidates, ({ number }) => (number < odds.length ? 1 / (1 + Math.exp(-odds[number])) : 0));
  const order = Int32Array.from(candidates.keys()).sort((one, other) => (odds[other] ?? -Infinity) - (odds[one] ?? -Infinity) || one - other);
  const ranks = new Int32Array(order.length);
  order.forEach((number, rank) => (ranks[number] = rank));
  const { least = null, greatest = null } = byAnswers ?? {};
  const scale = { ...scaleOf([0, 1]), low: 0, high: 1 };
  return { called: "probability", values, order, ranks, odds, scale, threshold: otsu(values.subarray(0, odds.length)), ownGreatest: Infinity, first: 0, count: null, most: settings?.max_particles, least, greatest };
}
