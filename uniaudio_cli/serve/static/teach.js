// Teach: labels with clips, and other clips labelled by them.
import { drawSpectrogram, Recorder } from "./audio.js";
import { busy, call, make, onDrop, player, post, say } from "./api.js";

const at = (id) => document.getElementById(id);
const labels = []; // {name, kept: clips of the base set, clips: [File], input}
const results = []; // {file, card}
let sets = [];
let made = null; // the id of the set on screen, null where it has changed

const named = () => labels.filter((each) => each.input.value.trim());
const nameOf = (label) => label.input.value.trim();

function addLabel(name = "", kept = 0) {
  const number = labels.length + 1;
  const input = make("input", { id: `label-${number}-${Date.now()}`, value: name, maxLength: 200, readOnly: kept > 0 });
  const label = { kept, clips: [], input };
  const list = make("ul", { className: "clips" });
  const files = make("input", { type: "file", multiple: true, accept: "audio/*,.flac,.ogg,.webm", id: `${input.id}-files` });
  const record = make("button", { type: "button" }, "Record");
  const card = make(
    "div",
    { className: "card drop", role: "group", "aria-label": `Label ${number}` },
    make("label", { htmlFor: input.id }, `Name of label ${number}`),
    input,
    list,
    make("div", { className: "row" }, record, make("div", {}, make("label", { htmlFor: files.id }, "or files"), files)),
  );
  label.show = () => {
    const entry = (file) => {
      const remove = make("button", { type: "button", "aria-label": `Remove ${file.name}` }, "×");
      remove.addEventListener("click", () => {
        label.clips.splice(label.clips.indexOf(file), 1);
        changed(label);
      });
      return make("li", {}, make("span", { className: "name" }, file.name), remove);
    };
    const kept = label.kept ? [make("li", { className: "name" }, `${label.kept} clips of the set`)] : [];
    list.replaceChildren(...kept, ...label.clips.map(entry));
  };
  label.take = (given) => {
    label.clips.push(...given);
    changed(label);
  };
  input.addEventListener("input", () => changed(label));
  files.addEventListener("change", () => {
    label.take([...files.files]);
    files.value = "";
  });
  onDrop(card, label.take);
  new Recorder(record, (file) => label.take([file]), say);
  labels.push(label);
  label.show();
  at("labels").append(card);
  return label;
}

function changed(label) {
  made = null;
  label.show();
}

function start() {
  // The labels of the set that is chosen, or two empty ones.
  const base = sets.find((each) => each.id === at("base").value);
  labels.length = 0;
  at("labels").replaceChildren();
  at("task").disabled = Boolean(base);
  if (base) {
    at("task").value = base.task;
    Object.entries(base.labels).forEach(([name, count]) => addLabel(name, count));
  } else {
    addLabel();
    addLabel();
  }
  made = base ? base.id : null;
}

async function makeSet() {
  // The id of a set of what is on screen; "" where there are names alone.
  const chosen = named();
  const clips = chosen.flatMap((label) => label.clips.map((file) => [file, nameOf(label)]));
  const base = at("base").value;
  if (labels.some((label) => label.clips.length && !nameOf(label))) throw new Error("Name every label that has clips.");
  if (made) return made;
  if (!clips.length && !base) {
    if (chosen.length < 2) throw new Error("Name two or more labels first.");
    return "";
  }
  const fields = [["task", at("task").value], ...(base ? [["extends", base]] : [])];
  if (!clips.length) return base;
  clips.forEach(([file, name]) => fields.push(["files", file], ["labels", name]));
  say("The set is made…");
  made = (await (await post("/v1/sets", fields)).json()).id;
  return made;
}

async function classify(given) {
  if (!given.length) return;
  const set = await makeSet();
  const fields = [["words", "true"], ...given.map((each) => ["files", each.file])];
  fields.push(...(set ? [["set", set]] : named().map((label) => ["labels", nameOf(label)])));
  say(set ? "The clips are labelled…" : "The clips are labelled by the names alone…");
  const found = (await (await post("/v1/classify", fields)).json()).results;
  found.forEach((result, n) => show(given[n], result));
  say(`${found.length} clip${found.length > 1 ? "s" : ""} labelled ${set ? "by the examples" : "by the names alone"}.`);
}

async function take(files) {
  const given = files.map((file) => {
    const canvas = make("canvas", { role: "img", "aria-label": `Spectrogram of ${file.name}` });
    const card = make("article", { className: "card", "aria-label": file.name });
    const outcome = make("div", {}, make("p", {}, "…"));
    card.append(make("p", { className: "name" }, file.name), outcome, canvas, player(file, file.name));
    at("results").prepend(card);
    drawSpectrogram(canvas, file);
    return { file, card, outcome };
  });
  try {
    await classify(given);
    results.push(...given);
  } catch (error) {
    given.forEach((each) => each.card.remove());
    throw error;
  }
}

function show(each, result) {
  if (result.error) {
    each.outcome.replaceChildren(make("p", { className: "error" }, result.error));
    return;
  }
  const scores = make("div", { className: "scores" });
  Object.entries(result.scores)
    .slice(0, 5)
    .forEach(([name, value]) => {
      const percent = `${Math.round(100 * value)} %`;
      scores.append(make("span", {}, name), make("meter", { value, "aria-label": `${name} ${percent}` }), make("span", {}, percent));
    });
  const words = result.words ? `Words for the LLM: ${result.words}` : "The LLM is given nothing of the clip.";
  const right = make("fieldset", {}, make("legend", {}, "Wrong? Add it to the right label:"));
  for (const label of named().filter((other) => nameOf(other) !== result.label)) {
    const button = make("button", { type: "button" }, nameOf(label));
    button.addEventListener("click", () => busy(button, () => correct(each, label)));
    right.append(button);
  }
  each.outcome.replaceChildren(make("p", { className: "label" }, result.label ?? "unsure"), scores, make("p", { className: "words" }, words), right);
}

async function correct(each, label) {
  // The clip becomes an example, and the others are labelled again.
  label.take([each.file]);
  results.splice(results.indexOf(each), 1);
  each.card.remove();
  await classify(results);
  say(`${each.file.name} is now an example of ${nameOf(label)}.`);
  at("query-files").focus();
}

async function exportSet() {
  const set = await makeSet();
  if (!set) throw new Error("Add clips first: a set of names alone has nothing to export.");
  const blob = await (await call(`/v1/sets/${set}/zip`)).blob();
  make("a", { href: URL.createObjectURL(blob), download: `${set}.zip` }).click();
  say(`Unpack ${set}.zip and give the folder to uniaudio classify --demos.`);
}

export function setUp(found, tasks) {
  sets = found.filter((each) => each.kind === "label");
  for (const each of sets) {
    const names = Object.keys(each.labels).slice(0, 4).join(", ");
    const about = each.id.startsWith("example-") ? `example: ${names}` : `${names} (${each.id.slice(0, 6)})`;
    at("base").append(make("option", { value: each.id }, about));
  }
  for (const each of tasks.filter((task) => task.kind === "classify")) {
    at("task").append(make("option", { value: each.name, selected: each.name === "sound-event" }, each.name));
  }
  at("base").addEventListener("change", start);
  at("task").addEventListener("change", () => (made = null));
  at("add-label").addEventListener("click", () => addLabel().input.focus());
  at("export").addEventListener("click", (event) => busy(event.currentTarget, exportSet));
  const safely = (files) => take(files).catch((error) => say(error.message));
  at("query-files").addEventListener("change", (event) => {
    safely([...event.target.files]);
    event.target.value = "";
  });
  onDrop(at("queries"), safely);
  new Recorder(at("record-query"), (file) => safely([file]), say);
  start();
}
