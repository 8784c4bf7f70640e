
// A conversation with the server that the page comes from. What the model writes becomes text
// nodes, never HTML; the page's policy forbids anything else.

const $ = (id) => document.getElementById(id);
const log = $("log"), prompt = $("prompt"), settings = $("settings"), notice = $("notice");
const wait = (ms, signal) => new Promise((done, fail) => {
  const timer = setTimeout(done, ms);
  signal?.addEventListener("abort", () => { clearTimeout(timer); fail(signal.reason); }, { once: true });
});

/** An element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** What the browser keeps; it may be told to keep nothing. */
const kept = {
  read(place, name) { try { return JSON.parse(window[place].getItem(name)); } catch { return null; } },
  write(place, name, value) { try { window[place].setItem(name, JSON.stringify(value)); } catch { /* then not */ } },
};

let key = kept.read("sessionStorage", "key");
/** The model, as /v1/models tells. */
let model = null;
/** The conversation: {role, text} and, of the assistant, {note, error}. */
let turns = [];
/** Stops the reply that is being made. */
let running = null;
