
// One reply: from the settings and the conversation to a text that grows.

/** The settings as parameters of a request; null if some are not as they should be. */
function parameters() {
  if (!settings.checkValidity()) {
    openPanel(true);
    settings.reportValidity();
    return null;
  }
  const chosen = {};
  for (const { name, type, value } of settings.elements) {
    if (type === "number" && value !== "") chosen[name] = Number(value);
  }
  const stops = settings.elements.stop.value.split("\n").filter(Boolean).map((line) => line.replaceAll("\\n", "\n"));
  if (stops.length) chosen.stop = stops;
  if (settings.elements.ignore_eos.checked) chosen.ignore_eos = true;
  return chosen;
}

function request(turn, chosen) {
  const before = turns.slice(0, turns.indexOf(turn));
  const body = { model: model.id, stream: true, stream_options: { include_usage: true }, ...chosen };
  if (isStory()) return ["v1/completions", { ...body, prompt: before.map(textOf).join("") + turn.text }];
  const messages = before.map(({ role, text }) => ({ role, content: text }));
  const system = settings.elements.system.value.trim();
  if (system) messages.unshift({ role: "system", content: system });
  return ["v1/chat/completions", { ...body, messages }];
}

/** Lets the model write a turn, or go on with it. */
async function reply(turn) {
  const chosen = parameters();
  if (running || !model || !chosen) return showAll();
  const stop = new AbortController(), { signal } = stop;
  running = { stop, turn };
  Object.assign(turn, { note: "", error: "" });
  const [path, body] = request(turn, chosen);
  showAll();
  update();
  const meter = new Meter(body, signal);
  watch(signal);
  let isDrawn = true;
  const draw = () => {
    if (isDrawn) return;
    isDrawn = true;
    const follows = nearEnd();
    showText(turn);
    meter.show();
    if (follows) toEnd();
  };
  try {
    const response = await patiently(() => { meter.start(); return api(path, body, signal); }, signal);
    let ended = "";
    for await (const event of events(response, signal)) {
      if (event.error) throw new Refusal(500, event.error.message, event.error.code);
      meter.usage = event.usage ?? meter.usage;
      const choice = event.choices[0];
      const text = choice?.delta?.content ?? choice?.text;
      if (text) {
        meter.piece();
        turn.text += text;
        if (isDrawn) requestAnimationFrame(draw);
        isDrawn = false;
      }
      ended = choice?.finish_reason ?? ended;
    }
    const used = meter.usage?.total_tokens, { n_ctx: size, context_shift: shifts } = model?.meta ?? {};
    const notes = shifts && used > size ? ["The context is full: its beginning was forgotten"] : [];
    if (ended === "length") notes.push(!shifts && used >= size ? "Cut: the context is full" : "Cut: no more tokens were allowed");
    turn.note = notes.join(" · ");
  } catch (error) {
    if (signal.aborted) turn.note = "Stopped";
    else if (error instanceof Refusal) turn.error = words(error);
    else { turn.error = "A bug of this page, sorry. The console has more."; console.error(error); }
    if (error.status === 401 || error.status === 503 || error.status === 0) connect();
  }
  tell("");
  running = null;
  stop.abort(); // what still runs beside the reply
  isDrawn = true;
  meter.finish();
  const follows = nearEnd(), at = log.scrollTop;
  showAll();
  if (!follows) log.scrollTop = at;
  update();
  $("spoken").textContent = turn.error || `${turn.text} ${turn.note}`;
  if (!turn.error) setTimeout(look, 350); // the server's last look at its engine comes a little later
}

/** Tries again for as long as the server is busy. */
async function patiently(attempt, signal) {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (error.status !== 429) throw error;
      tell(`${words(error)} Next try in ${error.seconds} s; Esc gives up.`);
      await wait(1000 * error.seconds, signal);
      tell("");
    }
  }
}
