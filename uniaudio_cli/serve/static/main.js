// Tabs, Speak and Enhance.
import { drawSpectrogram, Recorder } from "./audio.js";
import { busy, call, make, onDrop, player, post, say } from "./api.js";
import * as teach from "./teach.js";

const at = (id) => document.getElementById(id);
const tabs = [...document.querySelectorAll('[role="tab"]')];

function choose(tab) {
  for (const each of tabs) {
    const on = each === tab;
    each.setAttribute("aria-selected", String(on));
    each.tabIndex = on ? 0 : -1;
    at(each.getAttribute("aria-controls")).hidden = !on;
  }
  say("");
}

tabs.forEach((tab, n) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(n + step + tabs.length) % tabs.length];
    next.focus();
    choose(next);
  });
});

function spectrogram(blob, name) {
  const canvas = make("canvas", { role: "img", "aria-label": `Spectrogram of ${name}` });
  drawSpectrogram(canvas, blob);
  return canvas;
}

async function speak() {
  const body = JSON.stringify({ text: at("question").value, set: at("voice").value });
  say("The answer is made…");
  const answer = await call("/v1/speak", { method: "POST", body, headers: { "Content-Type": "application/json" } });
  const wav = await answer.blob();
  const text = decodeURIComponent(answer.headers.get("Uniaudio-Answer") ?? "");
  const probability = answer.headers.get("Uniaudio-Probability");
  const sound = player(wav, "The spoken answer");
  const card = make("article", { className: "card" }, make("p", { className: "name" }, at("question").value));
  card.append(make("p", { className: "label" }, text || "(no text)"));
  if (probability) card.append(make("p", {}, `probability ${Number(probability).toFixed(2)}`));
  card.append(spectrogram(wav, "the spoken answer"), sound);
  at("answer").prepend(card);
  say("");
  sound.play().catch(() => {});
}

async function enhance(file) {
  say("The recording is cleaned…");
  const answer = await post("/v1/enhance", [["file", file], ["set", at("pairs").value]]);
  const wav = await answer.blob();
  const before = player(file, "The recording");
  const after = player(wav, "The cleaned recording");
  const swap = make("button", { type: "button", className: "main" }, "Switch between A and B");
  swap.addEventListener("click", () => {
    const [from, to] = before.paused ? [after, before] : [before, after];
    to.currentTime = from.currentTime;
    from.pause();
    to.play().catch(() => {});
  });
  const card = (title, sound, blob) =>
    make("article", { className: "card" }, make("p", { className: "label" }, title), spectrogram(blob, title), sound);
  const pair = make("div", { className: "grid" }, card("A: recording", before, file), card("B: cleaned", after, wav));
  at("cleaned").replaceChildren(make("div", { className: "row" }, swap), pair);
  say("Cleaned.");
}

async function learn() {
  const ordered = (side) => [...at(`pair-${side}`).files].sort((one, other) => one.name.localeCompare(other.name));
  const [noisy, clean] = [ordered("noisy"), ordered("clean")];
  if (!noisy.length || noisy.length !== clean.length) throw new Error("Choose as many clean recordings as noisy ones.");
  say("The pairs are learnt…");
  const fields = noisy.flatMap((file, n) => [["files", file], ["labels", "noisy"], ["files", clean[n]], ["labels", "clean"]]);
  const made = await (await post("/v1/sets", [["task", "pair"], ...fields])).json();
  if (![...at("pairs").options].some((each) => each.value === made.id)) fill(at("pairs"), [made], "pair");
  at("pairs").value = made.id;
  say(`Learnt from ${noisy.length} pair${noisy.length > 1 ? "s" : ""}; now give a recording.`);
}

function fill(select, sets, kind) {
  for (const each of sets.filter((other) => other.kind === kind)) {
    select.append(make("option", { value: each.id }, each.id.startsWith("example-") ? "the example" : each.id.slice(0, 6)));
  }
}

async function load() {
  const [sets, tasks] = await Promise.all(["/v1/sets", "/v1/tasks"].map(async (path) => (await call(path)).json()));
  at("token").hidden = true;
  teach.setUp(sets, tasks);
  fill(at("voice"), sets, "text");
  fill(at("pairs"), sets, "pair");
  document.body.dataset.ready = "yes";
}

at("token").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("token-text").value);
  load().then(() => say("")).catch((error) => say(error.message));
});
at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.submitter ?? event.target.querySelector("button"), speak);
});
const clean = (files) => files[0] && enhance(files[0]).catch((error) => say(error.message));
at("noisy-file").addEventListener("change", (event) => {
  clean([...event.target.files]);
  event.target.value = ""; // so that the same file can be given again
});
at("learn").addEventListener("click", (event) => busy(event.currentTarget, learn));
onDrop(at("noisy"), clean);
new Recorder(at("record-noisy"), (file) => clean([file]), say);
load().catch((error) => say(error.message));
