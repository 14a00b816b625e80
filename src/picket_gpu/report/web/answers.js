// What a hand has decided: {place, good} for each answered place, which is a candidate or was added. An
// answer replaces an earlier one for the place; undo takes back the last change.

const NEAR = 0.25; // of the diameter: an added place that is nearer to a candidate is that candidate
let answersChanged = () => {}; // what follows

function setAnswers(picks, answers) {
  picks.answers = answers;
  picks.answered = new Map(answers.map((answer) => [answer.place, answer]));
}

function change(picks, answers) {
  picks.history.push({ answers: picks.answers, asked: picks.asked });
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
  else answer(picks, place, !isPicked(picks, place));
}

function undo(picks) {
  const before = picks.history.pop();
  if (!before) return;
  picks.asked = before.asked;
  setAnswers(picks, before.answers);
  answersChanged();
}

// Take in the candidate at a place, or the place itself.
function add(picks, place) {
  const { candidates, diameter } = picks;
  const far = (other) => Math.hypot((other.z - place.z) * DEEP, (other.y - place.y) * HIGH, (other.x - place.x) * WIDE);
  const nearest = candidates.reduce((best, each) => (!best || far(each) < far(best) ? each : best), null);
  if (nearest && far(nearest) < NEAR * diameter) answer(picks, nearest, true);
  else answer(picks, { ...place, diameter, added: true }, true);
}

// As text that a browser keeps: a candidate by its number, an added place by its coordinates.
function packedAnswers({ answers }) {
  return answers.map(({ place, good }) => [place.added ? [place.z, place.y, place.x] : place.number, good]);
}

function unpackedAnswers({ candidates, diameter }, packed) {
  return packed.map(([place, good]) => {
    if (!Array.isArray(place)) return { place: candidates[place], good };
    const [z, y, x] = place;
    return { place: { z, y, x, diameter, added: true }, good };
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
      const { least, greatest } = picks.byHeight;
      return { of: signatureOf(picks), answers: packedAnswers(picks), least, greatest: greatest === Infinity ? "none" : greatest };
    }),
    current: picked.indexOf(current),
  });
}

function recallPicks() {
  picked.forEach((picks, number) => {
    const { of, answers, least, greatest } = remembered.picked?.[number] ?? {};
    if (of !== signatureOf(picks)) return;
    setAnswers(picks, unpackedAnswers(picks, answers));
    Object.assign(picks.byHeight, { least, greatest: greatest === "none" ? Infinity : greatest });
  });
  return picked[remembered.current] ? remembered.current : 0;
}
