
// Keys, buttons and fields; the last part, which starts the page.

const enters = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing;

function update() {
  $("send").hidden = !!running;
  $("stop").hidden = !running;
  $("send").disabled = !model || !prompt.value.trim();
  $("clear").disabled = !!running || !turns.length;
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

function openPanel(open) {
  document.body.classList.toggle("open", open);
  $("toggle").setAttribute("aria-expanded", open);
}

function send() {
  if (running || !model || !prompt.value.trim()) return;
  const text = prompt.value;
  prompt.value = "";
  update();
  say(text);
  prompt.focus();
}

prompt.addEventListener("input", update);
prompt.addEventListener("keydown", (event) => {
  if (enters(event)) { event.preventDefault(); send(); }
});
$("composer").addEventListener("submit", (event) => { event.preventDefault(); send(); });
$("stop").addEventListener("click", () => { running?.stop.abort(); prompt.focus(); });
$("clear").addEventListener("click", () => {
  turns = [];
  $("context").hidden = true;
  $("speed").textContent = "";
  showAll();
  update();
  prompt.focus();
});
$("toggle").addEventListener("click", () => {
  openPanel(!document.body.classList.contains("open"));
  if (document.body.classList.contains("open")) settings.elements[0].focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || $("ask").open) return;
  if (running) running.stop.abort();
  else if (document.body.classList.contains("open")) { openPanel(false); $("toggle").focus(); }
});
$("ask").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault(); // the page has no targets for forms
  $("ask").close("given");
});
settings.addEventListener("submit", (event) => event.preventDefault());
const keepSettings = () => {
  const fields = [...settings.elements].filter(({ name }) => name);
  kept.write("localStorage", "settings", Object.fromEntries(fields.map((field) =>
    [field.name, field.type === "checkbox" ? field.checked : field.value])));
};
settings.addEventListener("input", keepSettings);
settings.addEventListener("reset", () => setTimeout(keepSettings));
for (const [name, value] of Object.entries(kept.read("localStorage", "settings") ?? {})) {
  const field = settings.elements[name];
  if (field) field[field.type === "checkbox" ? "checked" : "value"] = value;
}
turns = kept.read("sessionStorage", "turns") ?? [];
connect();
