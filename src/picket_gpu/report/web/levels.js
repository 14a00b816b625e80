// Contrast and opacity.

// Grey values: from percentiles to a linear map of the 256 levels.
function levelAt(part) {
  const total = DATA.histogram.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  return Math.max(0, DATA.histogram.findIndex((count) => (seen += count) >= part * total));
}

function setContrast() {
  const [black, white] = ["black", "white"].map((id) => Number(byId(id).value));
  byId("black-text").value = `${black}%`;
  byId("white-text").value = `${white}%`;
  const low = levelAt(black / 100) / 255;
  const high = Math.max(levelAt(white / 100) / 255, low + 1 / 255);
  for (const channel of byId("contrast").querySelectorAll("feComponentTransfer > *")) {
    channel.setAttribute("slope", 1 / (high - low));
    channel.setAttribute("intercept", -low / (high - low));
  }
}

function setOpacity() {
  document.body.style.setProperty("--opacity", byId("opacity").value / 100);
}

function startLevels() {
  for (const [id, set] of [["opacity", setOpacity], ["black", setContrast], ["white", setContrast]]) {
    if (remembered[id] !== undefined) byId(id).value = remembered[id];
    byId(id).addEventListener("input", () => {
      set();
      remember({ [id]: byId(id).value });
    });
  }
  setContrast();
  setOpacity();
}
