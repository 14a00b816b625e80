// Averages of central slices: of what is picked, and of the next below, with the means over circles.

const MOST_AVERAGED = 300;
const averages = ["in", "out"].map((kind) => ({ kind, ...cropCanvas("outlined") }));
let averaging = 0;

function startAverages() {
  for (const { kind, box } of averages) byId(`average-${kind}`).prepend(box);
}

// What is averaged: the highest that are picked, and as many of the next below the line.
function averaged(picks) {
  const kept = pickedOf(picks).slice(0, MOST_AVERAGED);
  const [, end] = boundsOf(picks.ranking);
  const below = [];
  for (const number of picks.ranking.order.slice(end)) {
    if (below.length === Math.max(1, kept.length)) break;
    const place = picks.candidates[number];
    if (!picks.answered.get(place)?.good) below.push(place);
  }
  return [kept, below];
}

// Not with every step of a handle, but with the last one.
function showAverages() {
  byId("averages").hidden = !current?.candidates.length || !current.diameter;
  if (byId("averages").hidden) return;
  const started = ++averaging;
  setTimeout(async () => {
    if (started !== averaging) return;
    const values = await wholeVolume();
    if (started === averaging) drawAverages(averaged(current), values);
  }, 30);
}

function drawAverages(groups, values) {
  const means = groups.map((group) => meanCrop(group.map((place) => cropOf(values, place, place.diameter))));
  const known = means.flatMap((mean) => [...mean]).filter((value) => !Number.isNaN(value));
  const [low, high] = [Math.min(...known), Math.max(...known)];
  averages.forEach(({ kind, canvas }, which) => {
    paintCrop(canvas, means[which], low, high);
    byId(`average-${kind}-count`).textContent = groups[which].length.toLocaleString("en");
    drawCurve(byId(`curve-${kind}`), circleMeans(means[which]), low, high);
  });
  byId("averages").dataset.drawn = averaging;
}

function meanCrop(crops) {
  const mean = new Float32Array(CROP * CROP).fill(NaN);
  for (let n = 0; n < mean.length; n++) {
    let [sum, count] = [0, 0];
    for (const crop of crops) {
      if (Number.isNaN(crop[n])) continue;
      sum += crop[n];
      count++;
    }
    if (count) mean[n] = sum / count;
  }
  return mean;
}

// Means over circles around the middle, one for each pixel of the radius.
function circleMeans(crop) {
  const [sums, counts] = [new Array(CROP / 2).fill(0), new Array(CROP / 2).fill(0)];
  crop.forEach((value, n) => {
    const middle = (CROP - 1) / 2;
    const radius = Math.floor(Math.hypot((n % CROP) - middle, Math.floor(n / CROP) - middle));
    if (radius >= sums.length || Number.isNaN(value)) return;
    sums[radius] += value;
    counts[radius]++;
  });
  return sums.map((sum, radius) => sum / counts[radius]);
}

// From the middle on the left to 0.8 diameters on the right, black below, white above.
function drawCurve(line, means, low, high) {
  const points = means.map((value, radius) => [(100 * (radius + 0.5)) / means.length, 60 - (60 * (value - low)) / (high - low || 1)]);
  line.setAttribute("points", points.filter(([, y]) => !Number.isNaN(y)).map((point) => point.join(",")).join(" "));
}
