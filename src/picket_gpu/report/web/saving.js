// Files of what is picked, as a run writes them.

// What stands for the height of an added place: the greatest of all, so that it stays at any threshold.
function scoreOf({ ranking }, place) {
  return ranking.values[place.added ? ranking.order[0] : place.number] ?? 1;
}

function csvText(picks) {
  const { origin, sizes } = picks;
  const [dz, dy, dx] = DATA.voxelSize;
  const lines = pickedOf(picks).map((place) => {
    const { z, y, x, diameter } = place;
    const row = [x * dx + origin[0], y * dy + origin[1], z * dz + origin[2], scoreOf(picks, place), x, y, z];
    return [...row, ...(sizes ? [diameter] : [])].map(exactly).join(",");
  });
  const head = `x_angstrom,y_angstrom,z_angstrom,score,x,y,z${sizes ? ",diameter_angstrom" : ""}`;
  return [head, ...lines, ""].join("\n");
}

// For RELION 5: angstrom from where it counts.
function starText(picks) {
  const { ranking, starName, starHead, centre } = picks;
  const centred = (place, axis) => (place - centre[axis]) * DATA.voxelSize[axis];
  const lines = pickedOf(picks).map((place) =>
    [...[centred(place.x, 2), centred(place.y, 1), centred(place.z, 0), scoreOf(picks, place)].map(sixDecimals), starName].join("\t"),
  );
  const names = [..."XYZ"].map((axis) => `rlnCenteredCoordinate${axis}Angst`);
  const head = [...names, "rlnAutopickFigureOfMerit", "rlnTomoName"].map((name, place) => `_${name} #${place + 1}`);
  const sixDigits = (value) => Number(value.toPrecision(6));
  const remarks = [`threshold ${sixDigits(leastOf(ranking))}`];
  if (ranking.greatest !== null && ranking.greatest !== Infinity) remarks.push(`greatest ${ranking.called} ${sixDigits(ranking.greatest)}`);
  if (picks.answers.length) remarks.push(byHand(picks));
  const notes = starHead + remarks.map((remark) => `# ${remark}`).join("\n");
  return [notes, "", "", "data_particles", "", "loop_", ...head, ...lines, "", "", ""].join("\n");
}

function byHand({ answers }) {
  const number = (wanted) => answers.filter(wanted).length;
  const told = [
    [number(({ good, place }) => good && !place.added), "taken in"],
    [number(({ good }) => !good), "left out"],
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
