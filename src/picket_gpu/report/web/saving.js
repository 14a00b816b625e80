// Files of what is picked, as a run writes them.

// What is picked with its score, highest first. Answers have one that stays at the limits that are shown: an
// added place the highest of all, a candidate that was taken in the nearest to its own.
function scoredOf(picks) {
  const { ranking, answered } = picks;
  const [least, limit] = [leastOf(ranking), greatestOf(ranking)];
  const within = (value) => Math.min(Math.max(value, least), limit);
  const highest = ranking.odds ? 1 : within(ranking.values[ranking.order[0]] ?? least);
  const scored = pickedOf(picks).map((place) => {
    if (place.added) return { place, score: Math.min(highest, limit) };
    const value = ranking.values[place.number];
    return { place, score: answered.has(place) ? within(value) : value };
  });
  return scored.sort((one, other) => other.score - one.score || answered.has(other.place) - answered.has(one.place));
}

function csvText(picks) {
  const { origin, sizes } = picks;
  const [dz, dy, dx] = DATA.voxelSize;
  const lines = scoredOf(picks).map(({ place: { z, y, x, diameter }, score }) => {
    const row = [x * dx + origin[0], y * dy + origin[1], z * dz + origin[2], score, x, y, z];
    return [...row, ...(sizes ? [diameter] : [])].map(exactly).join(",");
  });
  const head = `x_angstrom,y_angstrom,z_angstrom,score,x,y,z${sizes ? ",diameter_angstrom" : ""}`;
  return [head, ...lines, ""].join("\n");
}

// For RELION 5: angstrom from where it counts.
function starText(picks) {
  const { ranking, starName, starHead, centre } = picks;
  const centred = (place, axis) => (place - centre[axis]) * DATA.voxelSize[axis];
  const lines = scoredOf(picks).map(({ place: { z, y, x }, score }) =>
    [...[centred(x, 2), centred(y, 1), centred(z, 0), score].map(sixDecimals), starName].join("\t"),
  );
  const names = [..."XYZ"].map((axis) => `rlnCenteredCoordinate${axis}Angst`);
  const head = [...names, "rlnAutopickFigureOfMerit", "rlnTomoName"].map((name, place) => `_${name} #${place + 1}`);
  const sixDigits = (value) => Number(value.toPrecision(6));
  const remarks = [`threshold ${sixDigits(leastOf(ranking))}`];
  if (ranking.greatest !== null && ranking.greatest !== Infinity) remarks.push(`greatest ${ranking.called} ${sixDigits(ranking.greatest)}`);
  if (ranking.odds) remarks.push(`scores and threshold are probabilities by ${picks.answers.length} answers`);
  if (picks.answers.length) remarks.push(byHand(picks));
  const notes = starHead + remarks.map((remark) => `# ${remark}`).join("\n");
  return [notes, "", "", "data_particles", "", "loop_", ...head, ...lines, "", "", ""].join("\n");
}

function byHand({ answers }) {
  const number = (wanted) => answers.filter(wanted).length;
  const told = [
    [number(({ good, place }) => good && !place.added), "good"],
    [number(({ good }) => !good), "bad"],
    [number(({ place }) => place.added), "added"],
  ];
  return `by hand: ${told.filter(([count]) => count).map(([count, what]) => `${count} ${what}`).join(", ")}`;
}

// A float64 as Python writes it: as short as reads back the same, with a point or an exponent.
function exactly(value) {
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e16)) return value.toExponential().replace(/([+-])(\d)$/, "$10$2");
  const text = Object.is(value, -0) ? "-0" : String(value);
  return Number.isInteger(value) ? `${text}.0` : text;
}

// Half a last decimal, which only odd 128ths have, becomes even, as in C; toFixed takes it away from 0.
function sixDecimals(value) {
  return (Math.abs(value * 128) % 2 === 1 ? (2 * Math.round(value * 5e5)) / 1e6 : value).toFixed(6);
}

function saveParticles(text, ending) {
  const { ranking, stem, answers } = current;
  const moved = ranking.least === null && ranking.greatest === null ? "" : `_threshold_${short(leastOf(ranking))}`;
  saveFile(`${stem}${moved}${answers.length ? "_by_hand" : ""}${ending}`, text);
}

function saveFile(download, text) {
  const link = element("a", { download });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // when it is on disk
}
