
// From the start to a model.

function tell(text, ...buttons) {
  notice.replaceChildren(text, ...buttons);
  notice.hidden = !text;
}

function button(text, action) {
  const made = make("button", { type: "button", textContent: text });
  made.addEventListener("click", action);
  return made;
}

/** Asks for a key; false if there is none in the end. */
function askForKey(why) {
  const dialog = $("ask");
  $("ask-why").textContent = key ? words({ message: why }) : "";
  $("key").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => {
    const given = dialog.returnValue === "given";
    if (given) kept.write("sessionStorage", "key", key = $("key").value);
    $("key").value = "";
    done(given);
  }, { once: true }));
}

/** Waits for the server to be ready, and learns what it serves. */
async function connect() {
  ready(null);
  for (;;) {
    try {
      await api("health");
      const { data } = await ask("v1/models");
      tell("");
      return ready(data);
    } catch (error) {
      if (error.status === 401) {
        if (await askForKey(error.message)) continue;
        return tell("Without a key there is nothing to see here.", button("Enter a key", connect));
      }
      if (error.code === "loading") tell("The model is being loaded. This page goes on by itself.");
      else tell(`${words(error)} Trying again …`);
      await wait(1000 * (error.seconds ?? 1));
    }
  }
}

/** Takes a model of those that are served; without any, waits. */
function ready(models, chosen = models?.[0]) {
  model = chosen ?? null;
  $("model").disabled = !model;
  if (model) {
    $("model").replaceChildren(...models.map((one) => make("option", { textContent: one.id, selected: one === model })));
    $("model").onchange = ({ target }) => ready(models, models[target.selectedIndex]);
    const { meta } = model;
    document.body.classList.toggle("story", !meta.chat);
    prompt.placeholder = meta.chat ? "Say something" : "Begin a story, or go on with it";
    const facts = {
      Family: meta.architecture, Layers: meta.n_layer, Context: `${meta.n_ctx} tokens`,
      Strategy: meta.strategy, GPU: meta.gpu?.state, Version: meta.version,
    };
    const known = Object.entries(facts).filter(([, value]) => value != null);
    $("last").textContent = meta.n_layer;
    $("about").replaceChildren(...known.flatMap(([name, value]) => [
      make("dt", { textContent: name }), make("dd", { textContent: value }),
    ]));
    showAll();
  }
  update();
}
