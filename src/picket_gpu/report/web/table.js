// The table of workflows, a row for each.

function fillTable() {
  workflows.forEach((workflow, number) => {
    const name = workflowName(workflow);
    const use = named(`Use ${name} in S2`, element("input", { type: "checkbox", disabled: !workflow.file }));
    use.addEventListener("change", () => {
      state.used[number] = use.checked;
      update();
    });
    const swap = named(`Particles in ${name}`, element("select"));
    for (const label of [1, 0]) swap.append(element("option", { value: label, textContent: `label ${label}` }));
    swap.addEventListener("change", () => {
      state.particle[number] = Number(swap.value);
      update();
      draw().catch(complain);
    });
    workflow.row = element(
      "tr",
      {},
      element("th", { scope: "row", textContent: name }),
      numberCell(percent(workflow.share)),
      numberCell(workflow.components.count.toLocaleString("en"), smallerText(workflow.components)),
      numberCell(percent(workflow.components.largest)),
      element("td", {}, diameterPlot(workflow.components)),
      numberCell(workflow.separation === null ? "\u2013" : workflow.separation.toFixed(2)),
      numberCell(iterationsText(workflow)),
      numberCell(workflow.seconds === null ? "\u2013" : `${short(workflow.seconds)} s`),
      element("td", {}, swap),
      element("td", {}, use),
    );
    byId("rows").append(workflow.row);
  });
}

function numberCell(text, more = "") {
  const cell = element("td", { className: "number", textContent: text });
  if (more) cell.append(element("div", { className: "quiet", textContent: more }));
  return cell;
}

function iterationsText({ iterations, converged }) {
  if (iterations === null) return "\u2013";
  return converged === false ? `${iterations}, not converged` : String(iterations);
}

function smallerText({ smaller }) {
  return smaller ? `+ ${smaller.toLocaleString("en")} smaller` : "";
}

function diameterPlot({ counts, edges, quantiles, unit }) {
  if (!counts) return "none";
  const [width, height] = [150, 34];
  const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height + 12}`, width, height: height + 12, role: "img" });
  const [low, middle, high] = quantiles.map(short);
  const told = `median ${middle} ${unit} (${low} to ${high})`;
  named(told, svg);
  const step = width / counts.length;
  const most = Math.max(...counts);
  counts.forEach((count, place) => {
    const tall = count ? Math.max(1.5, (height * count) / most) : 0;
    svg.append(svgElement("rect", { x: place * step, y: height - tall, width: step - 1, height: tall }));
  });
  const ends = [[0, "start", edges[0]], [width, "end", edges[edges.length - 1]]];
  for (const [x, anchor, value] of ends) {
    const text = svgElement("text", { x, y: height + 10, "text-anchor": anchor });
    text.textContent = `${short(value)} ${unit}`;
    svg.append(text);
  }
  const mark = (width * Math.log(quantiles[1] / edges[0])) / Math.log(edges[edges.length - 1] / edges[0]);
  svg.append(svgElement("line", { x1: mark, x2: mark, y1: 0, y2: height }));
  return element("div", {}, svg, element("div", { className: "quiet", textContent: told }));
}
