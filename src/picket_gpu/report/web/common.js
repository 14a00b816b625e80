"use strict";

// What both pages need. Names go into the page as text nodes only, never as HTML.

const DATA = JSON.parse(byId("data").textContent);

function byId(id) {
  return document.getElementById(id);
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// What a screen reader calls an element that has no text.
function named(name, made) {
  made.setAttribute("aria-label", name);
  return made;
}

function svgElement(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function workflowName(workflow) {
  return `${workflow.mode} ${workflow.method}`;
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

// Three significant digits, without an exponent.
function short(value) {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

function describeVolume(tomogram) {
  const [z, y, x] = tomogram.shape;
  const size = tomogram.voxelSize;
  const known = size.every((length) => length > 0);
  const [dz, dy, dx] = size.map(short);
  const voxel = dz === dy && dy === dx ? dx : `${dz} \u00d7 ${dy} \u00d7 ${dx}`;
  const text = `${z} \u00d7 ${y} \u00d7 ${x} voxels (z y x)`;
  return known ? `${text} of ${voxel} \u00c5` : `${text} of unknown size`;
}

// z-slice limits of a fit, the upper one excluded, as S2 takes them: it includes the upper one.
function s2Limits([lower, upper]) {
  return [lower, upper === null ? null : upper - 1];
}

// A parameter file of S2. Entries are {file, particle, lower, upper}; files and the tomogram's
// outputDir and directoryName are YAML already.
function s2Parameters({ outputDir, directoryName }, entries) {
  const lines = [`dataset_name: ${directoryName}`, `output_dir: ${outputDir}`, "inputs:"];
  for (const { file, particle, lower, upper } of entries) {
    lines.push(`  - segmentation: ${file}`, `    particle_cluster_id: ${particle}`);
    if (lower !== null) lines.push(`    lower_z-slice_limit: ${lower}`);
    if (upper !== null) lines.push(`    upper_z-slice_limit: ${upper}`);
  }
  lines.push("particle_extraction_params:", "  - mode: connected_component_labeling");
  lines.push("  - mode: watershed_segmentation", "    min_distance: 15");
  return lines.join("\n") + "\n";
}

function showYaml(text) {
  const box = byId("yaml");
  box.value = text;
  box.rows = Math.min(20, text.split("\n").length);
  byId("copied").value = "";
}

// A button that copies the text of a box, and says so.
function copies(button, box, told) {
  byId(button).addEventListener("click", async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(byId(box).value);
    } catch {
      byId(box).select(); // where a page may not write to the clipboard, it may copy what is selected
      done = document.execCommand("copy");
    }
    byId(told).value = done ? "copied" : "selected; press Ctrl+C";
  });
}

copies("copy", "yaml", "copied");
