"use strict";
(() => {
  const form = document.querySelector(".filters");
  const list = document.querySelector(".clips");
  if (!form || !list) return;
  const clips = [...list.children];
  const status = form.querySelector(".count");
  const tests = {
    all: () => true,
    wrong: (clip) => clip.dataset.verdict === "wrong" || clip.dataset.verdict === "mixed",
    check: (clip) => "check" in clip.dataset,
    doubtful: (clip) => Number(clip.dataset.doubt) > 0.6,
  };
  const orders = {
    doubt: (a, b) => b.dataset.doubt - a.dataset.doubt,
    file: (a, b) => a.dataset.file.localeCompare(b.dataset.file),
    answer: (a, b) => a.dataset.answer.localeCompare(b.dataset.answer) || b.dataset.doubt - a.dataset.doubt,
  };
  const update = () => {
    const wanted = new FormData(form);
    const text = wanted.get("text").toLowerCase();
    let count = 0;
    for (const clip of clips.sort(orders[wanted.get("sort")])) {
      const { file, answer, truth } = clip.dataset;
      const fits = tests[wanted.get("show")](clip) && `${file} ${answer} ${truth}`.toLowerCase().includes(text);
      clip.hidden = !fits;
      count += fits;
      list.append(clip);
    }
    status.textContent = `${count} of ${clips.length} clips`;
  };
  form.addEventListener("input", update);
  update();
  // One player at a time.
  document.addEventListener("play", (event) => {
    for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
  }, true);
})();
