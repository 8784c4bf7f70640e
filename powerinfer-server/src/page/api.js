
// The API of the server: requests, events, refusals.

/** What the server refused, or that it is not there (status 0). */
class Refusal extends Error {
  constructor(status, message, code, seconds = 1) {
    super(message);
    Object.assign(this, { status, code, seconds });
  }
}

async function api(path, body, signal) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const options = { headers, signal, cache: "no-store" };
  if (body) {
    headers["content-type"] = "application/json";
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(0, "The server does not answer.");
  }
  if (response.ok) return response;
  const told = (await response.json().catch(() => null))?.error;
  const seconds = Number(response.headers.get("retry-after")) || 1;
  throw new Refusal(response.status, told?.message ?? `The server answered ${response.status}.`, told?.code, seconds);
}

const ask = async (path, body, signal) => (await api(path, body, signal)).json();

/** The JSON of server-sent events, to [DONE]. */
async function* events(response, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read().catch((error) => {
      if (signal.aborted) throw error;
      return { done: true };
    });
    if (done) throw new Refusal(0, "The connection broke before the reply was complete.");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line.startsWith("data: [DONE]")) return;
      yield JSON.parse(line.slice(6));
    }
  }
}

/** An error in words that help. */
function words({ status, code, message }) {
  const sentence = message.charAt(0).toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? "" : ".");
  if (code === "context_length_exceeded") return `${sentence} Clear the conversation, or edit an earlier text.`;
  if (status === 408) return `${sentence} Ask for fewer tokens, or try again.`;
  return sentence;
}
