// What a page remembers of how it was left, where the browser allows it.

const MEMORY = `picket_gpu ${location.pathname}`;
const remembered = recall();

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(MEMORY)) ?? {};
  } catch {
    return {}; // not allowed, or not ours
  }
}

function remember(changes) {
  Object.assign(remembered, changes);
  try {
    sessionStorage.setItem(MEMORY, JSON.stringify(remembered));
  } catch {
    // full, or not allowed
  }
}
