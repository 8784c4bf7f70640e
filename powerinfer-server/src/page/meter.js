
// What a reply costs, and what the engine does meanwhile.

/** Time and tokens of a reply. */
class Meter {
  pieces = 0;
  usage = null;
  promptTokens = null;

  constructor(body, signal) {
    // The server tells exact numbers at the end of a stream; until then this is near.
    const content = body.prompt ?? body.messages.map((message) => message.content).join("\n");
    ask("tokenize", { content, add_special: true }, signal)
      .then(({ tokens }) => { this.promptTokens = tokens.length; }, () => { /* told at the end */ });
  }

  start() { this.asked = performance.now(); }

  piece() {
    this.last = performance.now();
    this.first ??= this.last;
    this.pieces += 1;
  }

  show() {
    const tokens = this.usage?.completion_tokens ?? this.pieces;
    const facts = [`${tokens} tokens`];
    if (this.last > this.first) facts.unshift(`${(1000 * (tokens - 1) / (this.last - this.first)).toFixed(1)} tokens/s`);
    if (this.first) facts.push(`first after ${Math.round(this.first - this.asked)} ms`);
    $("speed").textContent = facts.join(" · ");
    const told = this.usage?.total_tokens;
    if (told == null && this.promptTokens == null) return;
    const size = model?.meta.n_ctx;
    if (!size) return;
    const used = Math.min(told ?? this.promptTokens + this.pieces, size); // more were forgotten
    $("context-text").textContent = `context ${told == null ? "about " : ""}${used} of ${size}`;
    $("context-meter").value = used / size;
    $("context").hidden = false;
  }

  finish() { if (this.first) this.show(); }
}

/** Shows what the engine does for as long as a reply is made. */
async function watch(signal) {
  while (!signal.aborted) {
    await wait(400, signal).then(look, () => {});
  }
}

async function look() {
  const stats = await ask("stats").catch(() => null);
  if (stats?.layers.length) draw(stats);
}

/** The active share of each layer as bars, and in words. */
function draw({ layers, active_share: share, running: texts, waiting }) {
  const percent = (value) => `${(100 * value).toFixed(value < .1 ? 1 : 0)} %`;
  const most = Math.max(...layers.map((layer) => Math.max(layer.active_share, layer.candidate_share)));
  const top = [.05, .1, .2, .3, .5, 1].find((step) => most <= step) ?? 1;
  const picture = $("activity"), width = 240 / layers.length;
  const bar = (index, value, name) => {
    const rect = document.createElementNS(picture.namespaceURI, "rect");
    const box = { class: name, x: (index + .12) * width, width: .76 * width, y: 64 * (1 - value / top), height: 64 * value / top };
    for (const [name, value] of Object.entries(box)) rect.setAttribute(name, value);
    return rect;
  };
  picture.replaceChildren(...layers.flatMap((layer, index) => [
    bar(index, layer.candidate_share, "tested"), bar(index, layer.active_share, "active"),
  ]));
  const each = layers.map((layer, index) => `${index + 1}: ${percent(layer.active_share)}`);
  picture.setAttribute("aria-label", `Active share by layer: ${each.join(", ")}`);
  if (share != null) $("share").replaceChildren(make("b", {}, percent(share)), " fire");
  $("scale").textContent = percent(top);
  $("last").textContent = layers.length;
  $("others").textContent = `${texts} texts run, ${waiting} wait`;
  $("others").hidden = texts < 2 && !waiting;
}
