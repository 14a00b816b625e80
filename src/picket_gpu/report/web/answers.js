// What a hand has decided: {place, good} for each answered place, which is a candidate or was added. An
// answer replaces an earlier one for the place; undo takes back the last change.

const NEAR = 0.25; // of the diameter: an added place that is nearer to a candidate is that candidate
let answersChanged = () => {}; // what follows

function setAnswers(picks, answers) {
  picks.answers = answers;
  picks.answered = new Map(answers.map((answer) => [answer.place, answer]));
  picks.crowded = crowdedBy(picks, answers.filter(({ place, good }) => good && place.added));
  picks.byAnswers = rankingByAnswers(picks);
  picks.ranking = picks.byAnswers ?? picks.byHeight;
}

function change(picks, answers) {
  const { answers: before, asked, skipped } = picks;
  picks.history.push({ answers: before, asked, skipped });
  setAnswers(picks, answers);
  answersChanged();
}

function answer(picks, place, good) {
  const others = picks.answers.filter((each) => each.place !== place);
  change(picks, [...others, { place, good }]);
}

// Leave out what is picked, take in what is not.
function flip(picks, place) {
  if (place.added) change(picks, picks.answers.filter((each) => each.place !== place));
  else answer(picks, place, !isPickedBy(picks)(place));
}

function undo(picks) {
  const before = picks.history.pop();
  if (!before) return;
  Object.assign(picks, { asked: before.asked, skipped: before.skipped });
  setAnswers(picks, before.answers);
  answersChanged();
}

// Take in the candidate at a place, or the place itself.
function add(picks, place) {
  const nearest = nearestTo(picks, place);
  if (nearest && apart(nearest, place) < NEAR * nearest.diameter) answer(picks, nearest, true);
  else answer(picks, addedPlace(picks, place), true);
}

function addedPlace(picks, place) {
  return { ...place, diameter: nearestTo(picks, place)?.diameter ?? picks.diameter, added: true };
}

function nearestTo({ candidates }, place) {
  return candidates.reduce((best, each) => (!best || apart(each, place) < apart(best, place) ? each : best), null);
}

// Distance in angstrom.
function apart(one, other) {
  return Math.hypot((one.z - other.z) * DEEP, (one.y - other.y) * HIGH, (one.x - other.x) * WIDE);
}

// Candidates nearer to an added place than the spacing, 0.8 of the mean of both diameters if it is not set.
function crowdedBy({ candidates, settings }, added) {
  const spacing = (one, other) => settings?.spacing ?? (0.8 * (one.diameter + other.diameter)) / 2;
  return new Set(candidates.filter((each) => added.some(({ place }) => apart(each, place) < spacing(each, place) * (1 - 1e-12))));
}

// As text that a browser keeps: a candidate by its number, an added place by its coordinates.
function packedAnswers({ answers }) {
  return answers.map(({ place, good }) => [place.added ? [place.z, place.y, place.x] : place.number, good]);
}

function unpackedAnswers(picks, packed) {
  return packed.map(([place, good]) => {
    if (!Array.isArray(place)) return { place: picks.candidates[place], good };
    const [z, y, x] = place;
    return { place: addedPlace(picks, { z, y, x }), good };
  });
}

// Whether answers are of these candidates, and not of others that the page had before.
function signatureOf({ candidates, total, diameter, threshold }) {
  const ends = [candidates[0], candidates[candidates.length - 1]].map((each) => (each ? [each.z, each.y, each.x, each.height] : []));
  return JSON.stringify([...ends, total, diameter, threshold]);
}

function rememberPicks() {
  remember({
    picked: picked.map((picks) => {
      const limits = [picks.byHeight, picks.byAnswers].map((ranking) => ranking && packedLimits(ranking));
      return { of: signatureOf(picks), answers: packedAnswers(picks), limits, unsaved: isUnsaved(picks) };
    }),
    current: picked.indexOf(current),
  });
}

function recallPicks() {
  picked.forEach((picks, number) => {
    const { of, answers, limits, unsaved } = remembered.picked?.[number] ?? {};
    if (of !== signatureOf(picks)) return;
    setAnswers(picks, unpackedAnswers(picks, answers));
    picks.savedAnswers = unsaved ? [] : picks.answers;
    [picks.byHeight, picks.byAnswers].forEach((ranking, n) => ranking && Object.assign(ranking, unpackedLimits(limits[n])));
  });
  return picked[remembered.current] ? remembered.current : 0;
}

// JSON has no Infinity.
function packedLimits({ least, greatest }) {
  return [least, greatest === Infinity ? "none" : greatest];
}

function unpackedLimits(limits) {
  const [least, greatest] = limits ?? [null, null];
  return { least, greatest: greatest === "none" ? Infinity : greatest };
}
