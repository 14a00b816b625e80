// Circles where the slice cuts spheres, and what a click on the picture does to them.

let cuts = []; // those that are drawn, {place, cx, cy, r, kind}

function drawCircles({ circles }, z) {
  cuts = current && byId("circles").checked ? cutsOf(current, z) : [];
  circles.replaceChildren(...cuts.map(({ cx, cy, r, kind }) => svgElement("circle", { cx, cy, r, class: kind })));
}

// Where spheres of the particles' size cut a slice, in angstrom from the picture's corner.
function cutsOf(picks, z) {
  const kept = pickedOf(picks);
  const found = [];
  const cut = (place, kind) => {
    const square = (place.diameter / 2) ** 2 - ((place.z - z) * DEEP) ** 2;
    if (square <= 0) return;
    const mark = place === picks.asked ? `${kind} asked` : kind;
    found.push({ place, cx: (place.x + 0.5) * WIDE, cy: (place.y + 0.5) * HIGH, r: Math.sqrt(square), kind: mark.trim() });
  };
  for (const place of kept) cut(place, picks.answered.has(place) ? "good" : "");
  if (byId("rest").checked) {
    const others = new Set(kept);
    for (const place of picks.candidates) if (!others.has(place) && !picks.answered.has(place)) cut(place, "rest");
  }
  for (const { place, good } of picks.answers) if (!good) cut(place, "bad");
  if (picks.asked && !found.some(({ place }) => place === picks.asked)) cut(picks.asked, "rest");
  return found;
}

// A click flips the circle that it is most in the middle of; with shift it takes in what is there.
function onPicture({ x, y }, { shiftKey }) {
  if (!current || Math.min(x, y) < 0 || Math.max(x, y) > 1) return;
  const [right, down] = [x * columns * DATA.binning, y * rows * DATA.binning]; // voxels from the corner
  if (shiftKey) {
    if (current.diameter) add(current, { z: places[state.slice], y: down - 0.5, x: right - 0.5 });
    return;
  }
  const far = ({ cx, cy, r }) => Math.hypot(right * WIDE - cx, down * HIGH - cy) / r;
  const hit = cuts.reduce((best, cut) => (far(cut) < Math.min(1, best ? far(best) : 1) ? cut : best), null);
  if (hit) flip(current, hit.place);
}

// Show a place: its slice, and the place in the middle if not all is seen.
function showPlace(place) {
  current.asked = place;
  showQuestions();
  cutAt(place.x, place.y);
  centreOn((place.x + 0.5) / (columns * DATA.binning), (place.y + 0.5) / (rows * DATA.binning));
  goTo(sliceNear(place.z));
}

// The next pick by rank, or the one before.
function step(by) {
  if (!current) return;
  const kept = pickedOf(current);
  if (!kept.length) return;
  const at = kept.indexOf(current.asked);
  const next = at < 0 ? (by > 0 ? 0 : kept.length - 1) : (at + by + kept.length) % kept.length;
  showPlace(kept[next]);
}
