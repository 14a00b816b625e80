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

// It keeps the first list, whose heights this page needs. Names are letters and digits, at most 40.
function choicesCommand({ name }) {
  const ranked = name ? `${name.slice(0, 34)}Ranked` : "ranked";
  return `python -m picket_gpu.pick ${DATA.directory} --choices ${CHOICES} --name ${ranked}`;
}

// A list that answers made has its candidates without what the model reads: the command would forget those answers.
function showChoices() {
  const { answers, savedAnswers, settings } = current;
  const isByAnswers = Boolean(settings?.choices);
  for (const id of ["save-choices", "copy-command", "choices-command"]) byId(id).hidden = isByAnswers;
  byId("save-choices").disabled = !answers.length;
  byId("choices-command").value = choicesCommand(current);
  const isSaved = answers.length > 0 && answers === savedAnswers;
  if (isByAnswers) byId("choices-told").value = "Answers made this list. Go on answering in one without choices, or save this as CSV or STAR.";
  else byId("choices-told").value = isSaved ? "saved; run in its folder:" : "then run in its folder:";
}

function startChoices() {
  copies("copy-command", "choices-command", "choices-told");
  byId("save-choices").addEventListener("click", () => {
    saveFile(CHOICES, choicesText(current));
    current.savedAnswers = current.answers;
    showPicked();
  });
  window.addEventListener("beforeunload", (event) => {
    if (picked.some(isUnsaved)) event.preventDefault();
  });
}
