
// The conversation as it is shown, and what can be done with it.

/** Text with its paragraphs, code and bold words as elements. */
function rendered(text) {
  const inline = (part) => part.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).map((piece, index) => {
    if (index % 2 === 0) return piece;
    return piece[0] === "`" ? make("code", {}, piece.slice(1, -1)) : make("strong", {}, piece.slice(2, -2));
  });
  // Prose, what stands behind the fence, code, what stands behind its end, prose, ...
  return text.split(/^```(.*)\n?/m).flatMap((part, index) => {
    if (index % 4 === 2) return [make("pre", { tabIndex: 0 }, make("code", {}, part.replace(/\n$/, "")))];
    if (index % 4 !== 0) return [];
    return part.split(/\n{2,}/).filter((one) => one.trim()).map((one) => make("p", {}, ...inline(one.trim())));
  });
}

/** Whether the model only goes on with texts. */
const isStory = () => document.body.classList.contains("story");

function showText(turn) {
  const shown = turn.element.querySelector(".text");
  if (isStory()) shown.replaceChildren(make("span", {}, turn.text));
  else shown.replaceChildren(...rendered(turn.text));
}

/** Shows a turn anew, with what can be done about it. */
function show(turn) {
  const text = make("div", { className: "text" });
  const element = make("article", { className: `turn ${turn.role}` }, text);
  element.setAttribute("aria-label", turn.role === "user" ? "You" : "Model");
  turn.element?.replaceWith(element);
  turn.element = element;
  showText(turn);
  const isLast = turn === turns.at(-1);
  const active = turn === running?.turn;
  element.classList.toggle("running", active);
  if (turn.error) element.append(make("p", { className: "error" }, turn.error, button("Try again", () => again(turn))));
  const footer = make("footer");
  if (turn.role === "user") footer.append(button("Edit", () => edit(turn)));
  if (turn.role === "assistant" && !active) {
    if (isStory() && isLast) footer.append(button("Continue", () => reply(turn)));
    const copied = () => isStory() ? turns.map(textOf).join("") : turn.text;
    if (turn.text) footer.append(button("Copy", ({ target }) => copy(copied(), target)));
    if (isLast && !turn.error) footer.append(button("Regenerate", () => again(turn)));
    if (isStory() && isLast) footer.append(button("Edit", () => edit(turns.at(-2))));
    if (turn.note) footer.append(make("span", { className: "note" }, turn.note));
  }
  element.append(footer);
  return element;
}

function showAll() {
  const hasFocus = log.contains(document.activeElement);
  log.replaceChildren(...turns.map(show));
  if (!turns.length && model) log.append(start());
  kept.write("sessionStorage", "turns", turns.map(({ role, text, note }) => ({ role, text, note })));
  if (hasFocus) log.focus({ preventScroll: true });
  toEnd();
}

/** What stands where there is no conversation yet. */
function start() {
  const [title, why, ideas] = isStory()
    ? ["Begin a story", "This model has no chat template: it cannot hold a conversation. It goes on with the text that you give it.",
      ["Once upon a time, there was a little fox who", "Lily looked at the dark sky. She was", "Tom and his dog found a big box."]]
    : ["What is it about?", "The model runs on the machine of this server. What you write goes nowhere else.",
      ["Explain in three sentences why the sky is blue.", "Write a short poem about rain.", "How do I reverse a list in Python?"]];
  const list = make("ul", {}, ...ideas.map((idea) => make("li", {}, button(idea, () => say(idea)))));
  return make("div", { className: "start" }, make("h2", {}, title), make("p", {}, why), list);
}

const nearEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
const toEnd = () => { log.scrollTop = log.scrollHeight; };

/** A turn's part of a story: what you add begins a line. */
const textOf = (turn, index) => (turn.role === "user" && index > 0 ? "\n" : "") + turn.text;

async function copy(text, target) {
  const label = target.textContent;
  try {
    await navigator.clipboard.writeText(text);
    target.textContent = "Copied";
  } catch {
    target.textContent = "The browser does not allow it";
  }
  await wait(1500);
  target.textContent = label;
}

/** Forgets a reply and asks for another one. */
function again(turn) {
  if (running) return;
  turns.length = turns.indexOf(turn);
  answer();
}

/** Lets a text be changed, which forgets what came after it. */
function edit(turn) {
  if (running) return;
  const rows = Math.min(12, turn.text.split("\n").length + 1);
  const area = make("textarea", { value: turn.text, ariaLabel: "Your text", rows });
  const form = make("form", { className: "edit" }, area, make("button", { className: "main" }, "Send"), " ", button("Cancel", showAll));
  const save = () => {
    if (!area.value.trim()) return;
    turn.text = area.value;
    turns.length = turns.indexOf(turn) + 1;
    answer();
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); save(); });
  area.addEventListener("keydown", (event) => {
    if (enters(event)) { event.preventDefault(); save(); }
    if (event.key === "Escape") { event.stopPropagation(); showAll(); prompt.focus(); }
  });
  turn.element.classList.add("editing");
  turn.element.replaceChildren(form);
  area.focus();
}

function say(text) {
  if (!model || running || !text.trim()) return;
  const last = turns.at(-1);
  if (last?.role === "assistant" && !last.text) turns.pop();
  turns.push({ role: "user", text });
  answer();
}

function answer() {
  const turn = { role: "assistant", text: "" };
  turns.push(turn);
  reply(turn);
}
