// The real `openai` package of npm against a running stack. Prints one JSON line a case: {"case", "error"}.
import assert from "node:assert/strict";
import OpenAI from "openai";

const { baseURL, token, alias, embeds, model, slow } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL, apiKey: token, maxRetries: 0, timeout: 30_000 });
const messages = [{ role: "user", content: "Hello!" }];
const weather = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};
// The scripted provider answers by what it is told to in the question.
const say = (text) => [{ role: "user", content: text }];

async function fails(promise, type, status, code) {
  const error = await promise.then(() => assert.fail("it did not fail"), (error) => error);
  assert.ok(error instanceof type, `${error.constructor.name}: ${error.message}`);
  assert.equal(error.status, status);
  assert.equal(error.code, code);
  return error;
}

const cases = {
  async "a plain answer"() {
    const answer = await client.chat.completions.create({ model: alias, messages, max_completion_tokens: 40, user: "u" });
    assert.equal(answer.choices[0].message.content, "Hello back.");
    assert.equal(answer.usage.total_tokens, 15);
    assert.equal(answer.omnipost.cost_usd, "0.000020");
  },
  async "a stream"() {
    const stream = await client.chat.completions.create({
      model: alias, messages: say("stream"), stream: true, stream_options: { include_usage: true },
    });
    let text = "", last;
    for await (const chunk of stream) { text += chunk.choices[0]?.delta?.content ?? ""; last = chunk; }
    assert.equal(text, "Hello");
    assert.equal(last.usage.total_tokens, 15);
  },
  async "the stream runner"() {
    const runner = client.chat.completions.stream({ model: alias, messages: say("stream") });
    assert.equal(await runner.finalContent(), "Hello");
  },
  async "tools"() {
    const first = await client.chat.completions.create({ model: alias, messages: say("tools"), tools: [weather] });
    const [call] = first.choices[0].message.tool_calls;
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Oslo" });
    const result = { role: "tool", tool_call_id: call.id, content: "-5" };
    const second = await client.chat.completions.create({
      model: alias, messages: [...messages, first.choices[0].message, result], tools: [weather],
    });
    assert.equal(second.choices[0].message.content, "Hello back.");
  },
  async "tools in a stream"() {
    const runner = client.chat.completions.stream({ model: alias, messages: say("tool stream"), tools: [weather] });
    const message = await runner.finalMessage();
    assert.deepEqual(message.tool_calls.map((call) => call.function.arguments), ['{"city":"Oslo"}', "{}"]);
  },
  async "JSON of a schema"() {
    const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };
    const answer = await client.chat.completions.parse({
      model: alias, messages: say("json"),
      response_format: { type: "json_schema", json_schema: { name: "city", strict: true, schema } },
    });
    assert.deepEqual(answer.choices[0].message.parsed, { name: "Oslo" });
  },
  async "a target by its name"() {
    const answer = await client.chat.completions.create({ model, messages });
    assert.equal(answer.model, model);
  },
  async "a completion"() {
    const answer = await client.completions.create({ model: alias, prompt: "Once" });
    assert.equal(answer.choices[0].text, "Hello back.");
  },
  async "embeddings"() {
    const found = await client.embeddings.create({ model: embeds, input: ["a", "b"] });
    assert.deepEqual(found.data.map((row) => row.embedding), [[0.25, -0.5, 1], [0.125, 0, 2]]);
  },
  async "models"() {
    const ids = (await client.models.list()).data.map((one) => one.id);
    assert.ok(ids.includes(alias) && ids.includes(model));
    assert.equal((await client.models.retrieve(model)).id, model);
  },
  async "headers"() {
    const { response } = await client.chat.completions.create({ model: alias, messages }).withResponse();
    assert.equal(response.headers.get("x-omnipost-cost-usd"), "0.000020");
    assert.ok(response.headers.get("x-omnipost-call-id"));
  },
  async "a wrong token"() {
    const stranger = new OpenAI({ baseURL, apiKey: "x".repeat(40), maxRetries: 2 });
    await fails(
      stranger.chat.completions.create({ model: alias, messages }), OpenAI.AuthenticationError, 401, "invalid_api_key",
    );
  },
  async "an unknown model"() {
    await fails(client.chat.completions.create({ model: "nobody", messages }), OpenAI.NotFoundError, 404, "model_not_found");
  },
  async "a field that cannot be honoured"() {
    await fails(client.chat.completions.create({ model: alias, messages, n: 2 }), OpenAI.BadRequestError, 400, "invalid_request");
  },
  async "a rate limit"() {
    const error = await fails(
      client.chat.completions.create({ model: alias, messages: say("busy") }), OpenAI.RateLimitError, 429,
      "rate_limit_exceeded",
    );
    assert.equal(error.headers.get("x-should-retry"), "true");
  },
  async "a timeout is not paid twice"() {
    const patient = new OpenAI({ baseURL, apiKey: token, maxRetries: 2, timeout: 30_000 });
    await fails(
      patient.chat.completions.create({ model: slow, messages: say("hang") }), OpenAI.InternalServerError, 504, "timeout",
    );
  },
  async "a stream that breaks"() {
    const stream = await client.chat.completions.create({ model: slow, messages: say("cut"), stream: true });
    const reading = (async () => { for await (const _ of stream); })();
    const error = await reading.then(() => assert.fail("it did not notice"), (error) => error);
    assert.ok(error instanceof OpenAI.APIError, String(error));
  },
};

for (const [name, run] of Object.entries(cases)) {
  const error = await run().then(() => null, (error) => String(error.stack ?? error));
  console.log(JSON.stringify({ case: name, error }));
}
