// The large picture: zoom by wheel, keys and buttons, moved by dragging.

const MOST_ZOOM = 16;
const CLICK = 4; // pixels that a pointer may move in a click
const large = makeView();
const zoom = { factor: 1, x: 0.5, y: 0.5 }; // x and y: what is in the middle, as parts of the picture
let clicked = () => {}; // what follows a click on the picture, at x, y as parts of it

function startStage() {
  const stage = byId("stage");
  stage.append(large.box);
  const [, dy, dx] = DATA.voxelSize;
  large.scale = dx > 0 && dy > 0 ? element("span", { className: "scale" }) : null;
  if (large.scale) stage.append(large.scale);
  Object.assign(zoom, remembered.zoom);
  stage.addEventListener("wheel", onWheel, { passive: false });
  stage.addEventListener("pointerdown", onPress);
  stage.addEventListener("dblclick", () => zoomTo(1));
  byId("zoom-in").addEventListener("click", () => zoomBy(2));
  byId("zoom-out").addEventListener("click", () => zoomBy(0.5));
  byId("zoom-fit").addEventListener("click", () => zoomTo(1));
  new ResizeObserver(place).observe(stage);
  place();
}

// Size of the whole picture at factor 1, in pixels.
function fitted() {
  const { clientWidth, clientHeight } = byId("stage");
  const width = Math.min(clientWidth, clientHeight * ASPECT);
  return { width, height: width / ASPECT, clientWidth, clientHeight };
}

function place() {
  const { width, height, clientWidth, clientHeight } = fitted();
  // As far as the picture is larger than the stage it covers it; else it is in the middle.
  const within = (middle, size, room) => {
    const half = room / 2 / size;
    return half >= 0.5 ? 0.5 : Math.max(half, Math.min(1 - half, middle));
  };
  zoom.x = within(zoom.x, width * zoom.factor, clientWidth);
  zoom.y = within(zoom.y, height * zoom.factor, clientHeight);
  Object.assign(large.box.style, {
    width: `${width * zoom.factor}px`,
    left: `${clientWidth / 2 - zoom.x * width * zoom.factor}px`,
    top: `${clientHeight / 2 - zoom.y * height * zoom.factor}px`,
  });
  byId("zoom-out").disabled = byId("zoom-fit").disabled = zoom.factor === 1;
  byId("zoom-in").disabled = zoom.factor === MOST_ZOOM;
  byId("stage").classList.toggle("zoomed", zoom.factor > 1);
  if (large.scale) showScale(width * zoom.factor, Math.min(clientWidth, width * zoom.factor));
  remember({ zoom: { ...zoom } });
}

function showScale(width, seen) {
  const nm = (columns * DATA.binning * DATA.voxelSize[2]) / 10 / width; // of a pixel
  const most = (seen / 4) * nm;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * [5, 2, 1].find((step) => step * power <= most);
  large.scale.textContent = `${short(length)} nm`;
  large.scale.style.width = `${length / nm}px`;
  const { clientWidth, clientHeight } = byId("stage");
  large.scale.style.left = `${Math.max(0, (clientWidth - width) / 2) + 16}px`;
  large.scale.style.bottom = `${Math.max(0, (clientHeight - width / ASPECT) / 2) + 14}px`;
}

// Where a pointer is, as parts of the picture.
function partsAt({ clientX, clientY }) {
  const { left, top, width, height } = large.box.getBoundingClientRect();
  return { x: (clientX - left) / width, y: (clientY - top) / height };
}

// Zoom; what is under the pointer, or in the middle, stays where it is.
function zoomTo(factor, at = { ...zoom }) {
  const before = zoom.factor;
  zoom.factor = Math.max(1, Math.min(MOST_ZOOM, factor));
  zoom.x = at.x + ((zoom.x - at.x) * before) / zoom.factor;
  zoom.y = at.y + ((zoom.y - at.y) * before) / zoom.factor;
  place();
}

function zoomBy(times, at) {
  zoomTo(zoom.factor * times, at);
}

// Put a place in the middle, if not all is seen.
function centreOn(x, y) {
  Object.assign(zoom, { x, y });
  place();
}

// With shift the wheel turns slices: a notch is one, the small steps of a touchpad add up.
let turned = 0;

function onWheel(event) {
  if (event.ctrlKey) return;
  const delta = event.deltaY || event.deltaX; // shift makes it deltaX in some browsers
  if (event.shiftKey) return turn(event, delta);
  if (zoom.factor === 1 && delta >= 0) return; // the page scrolls
  event.preventDefault();
  const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? delta : 33 * delta;
  zoomBy(2 ** (-Math.max(-200, Math.min(200, pixels)) / 200), partsAt(event));
}

function turn(event, delta) {
  const step = Math.sign(delta);
  if (!step || !(state.slice + step in places)) return;
  event.preventDefault();
  turned = Math.sign(turned) === step ? turned + delta : delta;
  if (event.deltaMode === WheelEvent.DOM_DELTA_PIXEL && Math.abs(turned) < 50) return;
  turned = 0;
  goTo(state.slice + step);
}

function onPress(event) {
  if (event.button !== 0) return;
  const stage = byId("stage");
  const [start, from] = [{ x: event.clientX, y: event.clientY }, { ...zoom }];
  let dragged = false;
  stage.setPointerCapture(event.pointerId);
  const onMove = ({ clientX, clientY }) => {
    const [right, down] = [clientX - start.x, clientY - start.y];
    dragged ||= Math.hypot(right, down) > CLICK;
    if (!dragged) return;
    const { width, height } = large.box.getBoundingClientRect();
    centreOn(from.x - right / width, from.y - down / height);
  };
  const onUp = (last) => {
    for (const [name, listener] of listeners) stage.removeEventListener(name, listener);
    if (!dragged && last.type === "pointerup") clicked(partsAt(last), last);
  };
  const listeners = [["pointermove", onMove], ["pointerup", onUp], ["pointercancel", onUp]];
  for (const [name, listener] of listeners) stage.addEventListener(name, listener);
}
