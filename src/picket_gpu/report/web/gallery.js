// A gallery: central slices of candidates by rank, the line between picked and not drawn in it. A click
// answers: it leaves out what is picked and takes in what is not; with shift it shows the place.

const PAGE = 60; // crops at a time
const tiles = Array.from({ length: PAGE }, makeTile);
const gallery = { start: 0 };

function makeTile() {
  const { canvas, box } = cropCanvas("outlined");
  const button = element("button", { type: "button", className: "tile", hidden: true }, box);
  const tile = { canvas, button, place: null };
  button.addEventListener("click", ({ shiftKey }) => (shiftKey ? showPlace(tile.place) : flip(current, tile.place)));
  return tile;
}

function startGallery() {
  byId("tiles").append(...tiles.map(({ button }) => button));
  byId("tiles-previous").addEventListener("click", () => turnGallery(gallery.start - PAGE));
  byId("tiles-next").addEventListener("click", () => turnGallery(gallery.start + PAGE));
  byId("tiles-line").addEventListener("click", () => {
    const [begin, end] = boundsOf(current.ranking);
    const at = addedOf(current).length + (gallery.start < begin && begin > 0 ? begin : end);
    turnGallery(Math.floor(Math.max(0, at - 1) / PAGE) * PAGE);
  });
}

function turnGallery(start) {
  gallery.start = start;
  showGallery();
}

function addedOf({ answers }) {
  return answers.filter(({ place }) => place.added).map(({ place }) => place);
}

// Crops of this page of the gallery, where they are not drawn yet, and which of them are picked.
function showGallery() {
  byId("gallery").hidden = !current?.candidates.length || !current.diameter;
  if (byId("gallery").hidden) return;
  const added = addedOf(current);
  const total = added.length + current.candidates.length;
  gallery.start = Math.max(0, Math.min(gallery.start, Math.floor((total - 1) / PAGE) * PAGE));
  const { start } = gallery;
  const { order, values } = current.ranking;
  const [begin, end] = boundsOf(current.ranking).map((rank) => rank + added.length);
  const wasPicked = isPickedBy(current);
  tiles.forEach((tile, n) => {
    const rank = start + n;
    const place = rank < added.length ? added[rank] : current.candidates[order[rank - added.length]] ?? null;
    tile.place = place;
    tile.button.hidden = !place;
    if (!place) return;
    const answer = current.answered.get(place);
    const isIn = wasPicked(place);
    const state = answer ? (answer.good ? "good" : "bad") : isIn ? "in" : "out";
    tile.button.dataset.state = state;
    const told = place.added ? "added by hand" : `rank ${order.indexOf(place.number) + 1}, ${current.ranking.called} ${short(values[place.number])}`;
    named(`${told}, ${isIn ? "picked" : "not picked"}${answer ? " by hand" : ""}`, tile.button);
    tile.button.title = told;
  });
  markLines(begin, end, total);
  byId("tiles-shown").value = `${start + 1} to ${Math.min(total, start + PAGE)} of ${total.toLocaleString("en")}`;
  byId("tiles-previous").disabled = start === 0;
  byId("tiles-next").disabled = start + PAGE >= total;
  wholeVolume().then(drawTiles, complain);
}

// Lines between what the handles leave and what not; none at the ends.
function markLines(begin, end, total) {
  const { called } = current.ranking;
  const lines = [
    [byId("line-above"), begin, `${called} above ${short(greatestOf(current.ranking))} is not picked`],
    [byId("line-below"), end, `${called} below ${short(leastOf(current.ranking))} is not picked`],
  ];
  for (const [line, rank, textContent] of lines) {
    const at = rank - gallery.start;
    line.hidden = !(at > 0 && at < PAGE && rank < total) || (begin === end && rank === begin && line.id === "line-above");
    if (!line.hidden) Object.assign(line, { textContent });
    (line.hidden ? tiles[0] : tiles[at]).button.before(line);
  }
}

function drawTiles(values) {
  tiles.forEach((tile) => {
    if (!tile.place || tile.drawn === tile.place) return;
    paintCrop(tile.canvas, cropOf(values, tile.place, tile.place.diameter));
    tile.drawn = tile.place;
  });
  byId("gallery").dataset.drawn = gallery.start;
}
