// The page of all tomograms: particles and their threshold, the table, and a parameter file of S2 for all.

function updateYaml() {
  const [name, particle] = [byId("workflow").value, byId("particle").value];
  const entries = [];
  for (const tomogram of tomograms) {
    const workflow = tomogram.workflows.find((each) => workflowName(each) === name);
    if (!workflow || workflow.file === null) continue;
    const [lower, upper] = s2Limits(tomogram.limits);
    entries.push({ file: workflow.file, particle, lower, upper });
  }
  const { outputDir, directoryName } = tomograms.find(({ page }) => page) ?? {};
  showYaml(entries.length ? s2Parameters({ outputDir, directoryName }, entries) : "# S2 reads HDF5 files: run S1 with save: [hdf5]\n");
}

function describeDataset() {
  const counts = { done: 0, failed: 0, waiting: 0 };
  for (const { state } of tomograms) counts[state]++;
  const told = [counted(tomograms.length, "tomogram")];
  if (counts.failed || counts.waiting) told.push(`${counts.done.toLocaleString("en")} done`);
  if (counts.failed) told.push(`${counts.failed.toLocaleString("en")} failed`);
  if (counts.waiting) told.push(`${counts.waiting.toLocaleString("en")} not run yet`);
  return told.join(" \u00b7 ");
}

byId("name").textContent = DATA.dataset;
byId("facts").textContent = describeDataset();
byId("workflow").append(...names.map((name) => element("option", { textContent: name })));
for (const id of ["workflow", "particle"]) byId(id).addEventListener("change", updateYaml);
startThreshold();
startTable();
updateYaml();
