// The answers as a file that `python -m picket_gpu.pick --choices` reads.

const CHOICES = DATA.links.index ? `choices_${DATA.index}.json` : "choices.json";

function choicesText(picks) {
  const { mode, method, name, diameter, answers } = picks;
  const plain = ({ descriptor, m }) => ({ m, descriptor: [...descriptor] });
  const told = answers.map(({ place, good }) => {
    const { z, y, x } = place;
    const example = exampleOf(picks, place);
    return { z, y, x, good, ...(example ? plain(example) : {}) };
  });
  const background = answeredExamples(picks).length ? backgroundOf(picks).map((place) => plain(exampleOf(picks, place))) : [];
  const { index, name: tomogram, path } = DATA;
  const choices = {
    ...{ format: "picket_gpu choices", version: 1, picking: { mode, method, name, diameter } },
    tomograms: [{ index, name: tomogram, path, answers: told, background }],
  };
  return `${JSON.stringify(choices, null, 1)}\n`;
}

function isUnsaved({ answers, savedAnswers = [] }) {
  return answers !== savedAnswers && (answers.length > 0 || savedAnswers.length > 0);
}

function startChoices() {
  byId("save-choices").addEventListener("click", () => {
    saveFile(CHOICES, choicesText(current));
    current.savedAnswers = current.answers;
    showPicked();
  });
  window.addEventListener("beforeunload", (event) => {
    if (picked.some(isUnsaved)) event.preventDefault();
  });
}
