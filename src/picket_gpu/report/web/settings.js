// The `particles` of a parameter file.

// That with the settings of a picking and other limits of the heights, undefined for none; null where its
// files do not tell its settings. `alone`: whether it is the only one of its name.
function particlesText({ settings, mode, method, otherScale }, alone, threshold, greatest) {
  const { workflows, max_height: own, ...rest } = settings;
  if (settings.diameter === undefined) return null; // PickET's, or edited by hand
  if (otherScale && typeof threshold === "number") return null;
  const chosen = alone || mode === "tomogram" ? workflows : [`${mode}-${method}`];
  return `particles: ${flowMapping({ ...rest, workflows: chosen, threshold, max_height: greatest })}\n`;
}

// What is said in its place.
function whyNoText(picks) {
  const other = picks.find(({ otherScale }) => otherScale);
  if (!other || picks.some(({ settings }) => settings.diameter === undefined)) return "# the files do not tell the settings of these particles";
  return `# with threshold: ${other.settings.threshold} heights are on another scale than numbers count on: pick with threshold: auto, then choose a number`;
}

function flowMapping(values) {
  const parts = Object.entries(values).filter(([, value]) => value !== undefined && value !== null);
  return `{${parts.map(([key, value]) => `${key}: ${flow(value)}`).join(", ")}}`;
}

// Words as they are; the rest as JSON, which is YAML but for numbers like 1e-7.
function flow(value) {
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  if (typeof value === "number") return String(value).replace(/^(-?\d+)e/, "$1.0e");
  const word = /^[A-Za-z][\w-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value);
  return word ? value : JSON.stringify(value);
}
