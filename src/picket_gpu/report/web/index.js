// The page of all tomograms: a table of links, and a parameter file of S2 for all of them.

const tomograms = DATA.tomograms;
const names = [...new Set(tomograms.flatMap((tomogram) => tomogram.workflows.map(workflowName)))];

function fillTable() {
  for (const title of ["", "", "tomogram", ...names]) {
    byId("columns").append(element("th", { scope: "col", textContent: title }));
  }
  for (const tomogram of tomograms) {
    const picture = element("img", { src: tomogram.thumbnail, alt: "", loading: "lazy" });
    const row = element(
      "tr",
      {},
      element("td", { className: "number quiet", textContent: tomogram.index }),
      element("td", {}, element("a", { href: tomogram.page, tabIndex: -1 }, picture)),
      element(
        "td",
        {},
        element("a", { href: tomogram.page, textContent: tomogram.name }),
        element("div", { className: "quiet path", textContent: tomogram.path }),
        element("div", { className: "quiet", textContent: describeVolume(tomogram) }),
        ...(tomogram.particles ?? []).map((particles) =>
          element("div", { textContent: `particles: ${particles}` })),
      ),
    );
    for (const name of names) row.append(shareCell(tomogram, name));
    byId("rows").append(row);
  }
}

function shareCell(tomogram, name) {
  const workflow = tomogram.workflows.find((each) => workflowName(each) === name);
  if (!workflow) return element("td", { className: "number", textContent: "\u2013" });
  const bar = element("div", { className: "bar" });
  bar.style.width = percent(workflow.share);
  return element("td", { className: "number" }, percent(workflow.share), bar);
}

function updateYaml() {
  const [name, particle] = [byId("workflow").value, byId("particle").value];
  const entries = [];
  for (const tomogram of tomograms) {
    const workflow = tomogram.workflows.find((each) => workflowName(each) === name);
    if (!workflow || workflow.file === null) continue;
    const [lower, upper] = s2Limits(tomogram.limits);
    entries.push({ file: workflow.file, particle, lower, upper });
  }
  showYaml(entries.length ? s2Parameters(tomograms[0], entries) : "# S2 reads HDF5 files: run S1 with save: [hdf5]\n");
}

byId("name").textContent = DATA.dataset;
byId("facts").textContent =
  tomograms.length < DATA.total ? `${tomograms.length} of ${DATA.total} tomograms` : `${DATA.total} tomograms`;
byId("workflow").append(...names.map((name) => element("option", { textContent: name })));
for (const id of ["workflow", "particle"]) byId(id).addEventListener("change", updateYaml);
fillTable();
updateYaml();
