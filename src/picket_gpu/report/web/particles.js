// The panel of particles: the histogram with its handles, files, and what hands have decided.

function showPicks(number) {
  current = picked[number];
  byId("picked").value = number;
  orderOverlays(current);
  const { candidates, starName } = current;
  byId("scores").hidden = !candidates.length;
  byId("save-star").disabled = starName === null;
  byId("save-star").title = starName === null ? "this tomogram's name cannot stand in a star file" : "";
  byId("picked-notes").textContent = notesOf(current).join(" ");
  gallery.start = 0;
  showRanking();
}

const KINDS = "Blue: picked; yellow: good by hand; red, dashed: bad; white, dotted: not picked; thick: asked about.";

function notesOf({ candidates, total, diameter, stem, files, how, doubt, sizes }) {
  const told = [`From ${picksName(current)}${how}.`];
  if (doubt) told.push(`${doubt}.`);
  if (!candidates.length) told.push("No candidates.");
  else if (sizes) told.push("Circles: where the slice cuts spheres of each one's diameter.", KINDS);
  else if (diameter) told.push(`Circles: where the slice cuts spheres ${short(diameter)} \u00c5 in diameter.`, KINDS);
  else told.push("No circles: the diameter is not known.");
  if (total > candidates.length) {
    told.push(`This page holds the ${candidates.length.toLocaleString("en")} highest of ${total.toLocaleString("en")} candidates.`);
  }
  const names = files.map((name, place) => (place && name.startsWith(stem) ? name.slice(stem.length) : name));
  return [...told, `Files: ${names.join(", ")}`];
}

let shownRanking = null;

// The histogram of the ranking that holds.
function showRanking() {
  const { ranking, candidates } = current;
  const what = ranking.called === "height" ? "heights" : "probabilities";
  shownRanking = ranking;
  // Those without a descriptor have no probability.
  drawHeights(ranking.scale, ranking.values.subarray(0, ranking.odds?.length), [ranking.threshold]);
  named(`Histogram of the ${what} of ${candidates.length} candidates`, byId("heights"));
  for (const name of document.querySelectorAll(".called")) name.textContent = ranking.called;
  showPicked();
}

function move(end, value) {
  const { ranking } = current;
  ranking[end] = end === "greatest" && value >= ranking.scale.high ? Infinity : value;
  showPicked();
}

// What is picked, everywhere on the page.
function showPicked() {
  if (shownRanking !== current.ranking) return showRanking();
  const { ranking, candidates, answers, history } = current;
  const { scale, least, greatest } = ranking;
  const within = (value) => Math.max(scale.low, Math.min(scale.high, value));
  placeHandles(within(leastOf(ranking)), within(greatestOf(ranking)));
  const kept = pickedOf(current).length;
  const text = `${kept.toLocaleString("en")} of ${candidates.length.toLocaleString("en")}`;
  byId("kept").value = text;
  byId("chosen").value = short(leastOf(ranking));
  const limited = greatestOf(ranking) < scale.high;
  byId("up-to").hidden = !limited;
  byId("chosen-greatest").value = limited ? short(greatestOf(ranking)) : "";
  byId("least").setAttribute("aria-valuetext", `${short(leastOf(ranking))}, ${text} picked`);
  byId("greatest").setAttribute("aria-valuetext", `${limited ? short(greatestOf(ranking)) : "no limit"}, ${text} picked`);
  byId("reset").disabled = least === null && greatest === null;
  byId("undo").disabled = !history.length;
  byId("clear").disabled = !answers.length;
  byId("by-hand").value = answers.length ? byHand(current) : "Click circles to leave out or take in.";
  showYamlOfParticles();
  showQuestions();
  showGallery();
  showAverages();
  rememberPicks();
  drawAllCircles();
}

function showYamlOfParticles() {
  const text = yamlOf(current);
  byId("particles-yaml").value = text?.trimEnd() ?? whyNoText([current]); // a line more would scroll
  byId("copy-particles").disabled = text === null;
  byId("particles-copied").value = "";
}

// Where answers rank, limits are of probabilities: a number in the settings counts heights.
function yamlOf(picks) {
  const { settings = {}, ranking, name } = picks;
  const alone = picked.filter((each) => each.name === name).length === 1;
  const isWord = typeof settings.threshold === "string";
  const least = ranking.least ?? (ranking.odds && !isWord ? undefined : settings.threshold);
  const own = ranking.odds ? undefined : settings.max_height;
  const greatest = ranking.greatest === null ? own : ranking.greatest;
  const choices = ranking.odds ? { choices: CHOICES } : {};
  return particlesText({ ...picks, settings: { ...settings, ...choices } }, alone, least, greatest === Infinity ? undefined : greatest);
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
  startHandles(move);
  startGallery();
  startAverages();
  startQuestions();
  startChoices();
  for (const id of ["circles", "rest"]) byId(id).addEventListener("change", drawAllCircles);
  byId("reset").addEventListener("click", () => {
    Object.assign(current.ranking, { least: null, greatest: null });
    showPicked();
  });
  byId("undo").addEventListener("click", () => undo(current));
  byId("clear").addEventListener("click", () => change(current, []));
  byId("save-csv").addEventListener("click", () => saveParticles(csvText(current), ".csv"));
  byId("save-star").addEventListener("click", () => saveParticles(starText(current), ".star"));
  copies("copy-particles", "particles-yaml", "particles-copied");
  clicked = onPicture;
  answersChanged = showPicked;
  Object.assign(KEYS, { n: () => step(1), p: () => step(-1), u: () => undo(current) });
  showPicks(recallPicks());
  if (remembered.overlay === undefined) state.overlay = overlays[0].number;
}
