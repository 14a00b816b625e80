// Thumbnails of the workflows below the large picture; they choose its overlay. Number -1 is none.

const overlays = [-1, ...workflows.keys()].map((number) => {
  const view = makeView();
  const title = number < 0 ? "no overlay" : workflowName(workflows[number]);
  const share = element("span", { className: "quiet" });
  const mark = element("span", { className: "mark", textContent: "picked from", hidden: true });
  const caption = element("span", { className: "caption" }, element("span", { textContent: title }), share);
  const button = element("button", { type: "button", className: "thumb" }, view.box, caption, mark);
  button.dataset.workflow = title;
  button.addEventListener("click", () => showOverlay(number));
  return { number, view, button, share, mark, title };
});

function startOverlays() {
  orderOverlays(null);
  const named = overlays.find(({ title }) => title === remembered.overlay);
  state.overlay = named ? named.number : workflows.length ? 0 : -1;
}

// The workflow that picks come from first.
function orderOverlays(picks) {
  const from = picks ? workflows.findIndex((each) => workflowName(each) === workflowName(picks)) : null;
  const rank = ({ number }) => (number === from ? -1 : number < 0 ? workflows.length : number);
  overlays.sort((one, other) => rank(one) - rank(other));
  for (const { number, mark } of overlays) mark.hidden = number !== from;
  byId("thumbnails").replaceChildren(...overlays.map(({ button }) => button));
}

function overlayOf(number) {
  return overlays.find((each) => each.number === number);
}

function showOverlay(number) {
  state.overlay = number;
  remember({ overlay: overlayOf(number).title });
  describeOverlays();
  draw().catch(complain);
}

function describeOverlays() {
  for (const { number, button, share } of overlays) {
    button.setAttribute("aria-pressed", number === state.overlay);
    if (number >= 0) share.textContent = shareText(number);
  }
  byId("overlay").textContent = overlayOf(state.overlay).title;
  byId("share").value = state.overlay < 0 ? "" : shareText(state.overlay);
}

function shareText(number) {
  const [{ share }, label] = [workflows[number], state.particle[number]];
  return `label ${label}: ${percent(label ? share : 1 - share)}`;
}
