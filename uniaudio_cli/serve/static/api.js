// Calls of the API. A token is kept for the tab alone.
export async function call(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  if (answer.status === 401) document.getElementById("token").hidden = false;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the server answered ${answer.status}`);
}

export async function post(path, fields) {
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  return call(path, { method: "POST", body: form });
}

export function say(text) {
  document.getElementById("status").textContent = text;
}

export function make(tag, fields = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function player(blob, name) {
  return make("audio", { controls: true, src: URL.createObjectURL(blob), "aria-label": name });
}

export function onDrop(zone, take) {
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
}

export async function busy(button, work) {
  // Runs work once at a time, and shows its error.
  if (button.disabled) return;
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    say(error.message);
  } finally {
    button.disabled = false;
  }
}
