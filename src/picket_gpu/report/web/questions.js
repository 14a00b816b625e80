// Questions: which candidate to ask about next, and the panel that asks.

const TURNS = ["unsure", "picked", "unsure", "stratum"];
const STRATA = 10;
const AMONG = 60; // candidates that are asked about, at least
const CONTRADICTED = 1; // log-odds against an answer, from which on it is told
const MOST_TOLD = 5;
const askedCrops = ["xy", "xz"].map((plane) => ({ plane, ...cropCanvas("outlined crop-shown") }));

// Numbers from 0 to 1, the same for the same seed.
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// In turn: the least sure, a pick at random, the least sure, one of a random stratum of the heights.
function nextQuestion(picks) {
  const { candidates, answered, skipped, answers, byHeight, ranking } = picks;
  const isOpen = (place) => !answered.has(place) && !skipped.has(place);
  const among = Math.max(AMONG, 3 * firstRank(byHeight.order, (number) => byHeight.values[number] < byHeight.threshold));
  const open = candidates.slice(0, among).filter(isOpen);
  if (!open.length) return candidates.find(isOpen) ?? null;
  const random = randomFrom(7919 * answers.length + skipped.size);
  const any = (places) => places[Math.floor(random() * places.length)];
  const turn = TURNS[answers.length % TURNS.length];
  if (turn === "picked") {
    const kept = pickedOf(picks).filter(isOpen);
    if (kept.length) return any(kept);
  }
  if (turn === "stratum") {
    const size = Math.ceil(Math.min(among, candidates.length) / STRATA);
    const strata = Array.from({ length: STRATA }, (_, n) => open.filter(({ number }) => Math.floor(number / size) === n));
    return any(any(strata.filter((places) => places.length)));
  }
  const unsure = ({ number }) => Math.abs(ranking.odds ? ranking.odds[number] ?? Infinity : ranking.values[number] - ranking.threshold);
  return open.reduce((best, place) => (unsure(place) < unsure(best) ? place : best));
}

// Answers that the model, had it learned from all others, would contradict; the clearest first.
function contradictedOf(picks) {
  if (!picks.ranking.odds) return [];
  const learned = learnedFrom(picks);
  return oddsWithout(learned)
    .map((odds, n) => ({ ...learned[n], against: -Math.sign(learned[n].y) * odds }))
    .filter(({ place, against }) => place && against > CONTRADICTED)
    .sort((one, other) => other.against - one.against);
}

function respond(good) {
  if (!current) return;
  const { asked } = current;
  if (!asked) return askNext();
  answer(current, asked, good);
  askNext(asked);
}

function skip() {
  if (!current?.asked) return;
  const { asked, history, answers, skipped } = current;
  history.push({ answers, asked, skipped });
  current.skipped = new Set([...skipped, asked]);
  askNext(asked);
}

// Without descriptors the next pick by rank is next.
function askNext(asked = null) {
  let next = null;
  if (current.descriptors) next = nextQuestion(current);
  else {
    const { order, ranks } = current.ranking;
    const from = asked && !asked.added ? ranks[asked.number] + 1 : 0;
    next = [...order.slice(from)].map((number) => current.candidates[number]).find((place) => !current.answered.has(place) && !current.skipped.has(place)) ?? null;
  }
  if (next) showPlace(next);
  else current.asked = null;
  showPicked();
}

// The panel.

function startQuestions() {
  for (const { plane, box } of askedCrops) byId(`asked-${plane}`).append(box, element("span", { className: "quiet", textContent: plane }));
  byId("good").addEventListener("click", () => respond(true));
  byId("bad").addEventListener("click", () => respond(false));
  byId("skip").addEventListener("click", skip);
  Object.assign(KEYS, { g: () => respond(true), b: () => respond(false), s: skip });
}

function showQuestions() {
  const { asked, answers, descriptors, ranking, answered, candidates, diameter } = current;
  byId("questions").hidden = !candidates.length || !diameter;
  const good = answers.filter((each) => each.good).length;
  const counts = `${answers.length} answered: ${good} good, ${answers.length - good} bad`;
  const wanted = LEAST_ANSWERS - answeredExamples(current).length;
  const ranked = (descriptors?.length ?? 0) / NUMBERS;
  const which = ranked < candidates.length ? `the ${ranked.toLocaleString("en")} highest candidates` : "all candidates";
  const ranks = ranking.odds ? `they rank ${which}` : `${wanted} more and they rank ${which}`;
  byId("answered").value = descriptors ? `${counts}; ${ranks}` : counts;
  const start = answers.length ? "Press g to be asked." : "Go to a good particle with n and p, then press g.";
  byId("asked-text").value = asked ? describeAsked(asked, answered.get(asked)) : start;
  byId("skip").disabled = !asked;
  showChoices();
  showContradicted();
  showAskedCrops(asked);
}

function describeAsked(place, answer) {
  const said = answer ? `, answered ${answer.good ? "good" : "bad"}` : "";
  if (place.added) return `Added by hand${said}`;
  const { called, values, ranks } = current.ranking;
  return `Rank ${(ranks[place.number] + 1).toLocaleString("en")}, ${called} ${short(values[place.number])}${said}. A particle?`;
}

function showContradicted() {
  const told = contradictedOf(current).slice(0, MOST_TOLD);
  byId("contradicted").hidden = !told.length;
  byId("contradicted").replaceChildren("Look again, the other answers say otherwise:", ...told.map(({ place, good }) => {
    const button = element("button", { type: "button", textContent: `${good ? "good" : "bad"}, rank ${current.ranking.ranks[place.number] + 1}` });
    button.addEventListener("click", () => {
      showPlace(place);
      showPicked();
    });
    return button;
  }));
}

function showAskedCrops(asked) {
  for (const { box } of askedCrops) box.parentElement.classList.toggle("empty", !asked);
  if (!asked) return;
  wholeVolume().then((values) => {
    if (current.asked !== asked) return;
    for (const { canvas, plane } of askedCrops) paintCrop(canvas, cropOf(values, asked, asked.diameter, plane));
  }, complain);
}
