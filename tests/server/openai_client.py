"""The official `openai` client drives every endpoint of a server.

python3 openai_client.py PROGRAM, with openai installed for that Python.
"""

import asyncio
import base64
import contextlib
import math
import struct
import sys
import unittest

import openai

from server import MODEL, serve, wait_for

KEY = "secret"
PROMPT = "Once upon a time"
MESSAGES = [{"role": "user", "content": "Tell me of a cat."}]


class Endpoints(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.server = cls.stack.enter_context(serve(PROGRAM, "--queue", "4", key=KEY))
        cls.client = cls.connect()

    @classmethod
    def connect(cls, **options):
        options = {"api_key": KEY, "max_retries": 0, "timeout": 60, **options}
        client = openai.OpenAI(base_url=f"{cls.server.url}/v1", **options)
        return cls.stack.enter_context(client)

    def complete(self, client=None, **options):
        options = {"model": MODEL, "prompt": PROMPT, "temperature": 0, "max_tokens": 16, **options}
        return (client or self.client).completions.create(**options)

    def chat(self, **options):
        options = {"model": MODEL, "messages": MESSAGES, "temperature": 0, **options}
        return self.client.chat.completions.create(**{"max_completion_tokens": 16, **options})

    def refused(self, error, call, *words, **options):
        with self.assertRaises(error) as context:
            call(**options)
        found = context.exception
        for word in words:
            self.assertIn(word, str(found))
        self.assertTrue(found.request_id, "errors have the id of their request")
        return found

    def test_models(self):
        [model] = self.client.models.list().data
        self.assertEqual((model.id, model.object, model.owned_by), (MODEL, "model", "powerinfer"))
        self.assertEqual(self.client.models.retrieve(MODEL).id, MODEL)
        error = self.refused(openai.NotFoundError, self.client.models.retrieve, model="gpt-4")
        self.assertEqual((error.code, error.param), ("model_not_found", "model"))

    def test_completion(self):
        whole = self.complete()
        [choice] = whole.choices
        self.assertEqual((whole.object, choice.finish_reason), ("text_completion", "length"))
        usage = whole.usage
        self.assertEqual(usage.completion_tokens, 16)
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + 16)
        two = self.complete(prompt=[PROMPT, "The dog"], n=2)
        texts = [choice.text for choice in two.choices]
        self.assertEqual(texts[:2], [choice.text] * 2)
        self.assertEqual(texts[2], texts[3])
        self.assertNotEqual(texts[1], texts[2])
        echoed = self.complete(echo=True, logprobs=2, max_tokens=2).choices[0]
        self.assertTrue(echoed.text.startswith(PROMPT))
        self.assertIsNone(echoed.logprobs.token_logprobs[0])
        self.assertEqual(len(echoed.logprobs.tokens), len(echoed.logprobs.text_offset))
        stopped = self.complete(stop=choice.text[8:12]).choices[0]
        self.assertEqual((stopped.text, stopped.finish_reason), (choice.text[:8], "stop"))

    def test_completion_stream(self):
        whole = self.complete()
        chunks = list(self.complete(stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(c.choices[0].text for c in chunks if c.choices), whole.choices[0].text)
        self.assertEqual([c.usage for c in chunks[:-1]], [None] * (len(chunks) - 1))
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, 16)
        self.assertEqual(chunks[-2].choices[0].finish_reason, "length")

    def test_chat(self):
        whole = self.chat(logprobs=True, top_logprobs=2)
        [choice] = whole.choices
        message = choice.message
        self.assertEqual((whole.object, message.role), ("chat.completion", "assistant"))
        self.assertEqual((choice.finish_reason, whole.usage.completion_tokens), ("length", 16))
        spelled = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
        self.assertEqual(spelled.decode(), message.content)
        for token in choice.logprobs.content:
            self.assertEqual(token.top_logprobs[0].token, token.token, "greedy takes the best")
        parts = [{"type": "text", "text": "Tell me "}, {"type": "text", "text": "of a cat."}]
        again = self.chat(messages=[{"role": "user", "content": parts}])
        self.assertEqual(again.choices[0].message.content, message.content)
        self.assertGreater(again.usage.prompt_tokens_details.cached_tokens, 0)

    def test_chat_stream(self):
        whole = self.chat()
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(self.chat(**options))
        first = chunks[0].choices[0].delta
        self.assertEqual((first.role, first.content), ("assistant", ""))
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual({c.id for c in chunks}, {chunks[0].id})
        self.assertEqual(chunks[-1].usage.completion_tokens, 16)
        # The client's own helper puts the pieces together; it takes no text that was cut.
        with self.client.chat.completions.stream(
            model=MODEL, messages=MESSAGES, temperature=0, stop=text[12:16]
        ) as stream:
            reply = stream.get_final_completion()
        self.assertEqual(reply.choices[0].message.content, text[:12])

    def test_seeds(self):
        def draw(seed, n):
            chosen = self.chat(temperature=1, seed=seed, n=n).choices
            return [choice.message.content for choice in chosen]

        three = draw(7, 3)
        self.assertEqual(three, draw(7, 3))
        self.assertEqual(three[1:], draw(8, 2))
        self.assertEqual(len(set(three)), 3)

    def test_embeddings(self):
        # Without encoding_format this client asks for base64 and reads it itself.
        create, inputs = self.client.embeddings.create, ["The cat sat.", "A dog ran."]
        answer = create(model=MODEL, input=inputs)
        plain = create(model=MODEL, input=inputs, encoding_format="float")
        coded = create(model=MODEL, input=inputs, encoding_format="base64")
        self.assertEqual([item.index for item in answer.data], [0, 1])
        self.assertGreater(answer.usage.prompt_tokens, 0)
        for item, numbers, text in zip(answer.data, plain.data, coded.data):
            self.assertAlmostEqual(math.hypot(*numbers.embedding), 1, places=5)
            data = base64.b64decode(text.embedding)
            read = list(struct.unpack(f"<{len(data) // 4}f", data))
            self.assertEqual(read, list(item.embedding))
            for a, b in zip(read, numbers.embedding, strict=True):
                self.assertAlmostEqual(a, b, places=6)
        tokens = create(model=MODEL, input=[[5, 6, 7], [8]])
        self.assertEqual(len(tokens.data), 2)

    def test_errors_are_typed(self):
        error = self.refused(openai.BadRequestError, self.chat, "temperature", temperature=3)
        self.assertEqual((error.param, error.code), ("temperature", "invalid_parameter"))
        self.assertEqual(error.type, "invalid_request_error")
        error = self.refused(openai.BadRequestError, self.chat, extra_body={"temprature": 1})
        self.assertEqual(error.param, "temprature")
        error = self.refused(openai.BadRequestError, self.complete, prompt="word " * 2000)
        self.assertEqual(error.code, "context_length_exceeded")
        error = self.refused(openai.NotFoundError, self.complete, "gpt-4", model="gpt-4")
        self.assertEqual(error.code, "model_not_found")
        stranger = self.connect(api_key="wrong")
        error = self.refused(openai.AuthenticationError, stranger.models.list)
        self.assertEqual(error.code, "invalid_api_key")
        self.refused(openai.BadRequestError, self.complete, "64 texts", n=64)
        error = self.refused(openai.APIStatusError, self.complete, prompt="a" * (5 << 20))
        self.assertEqual(error.status_code, 413)
        self.assertEqual(error.response.headers["connection"], "close")

    def test_a_full_queue(self):
        with contextlib.ExitStack() as streams, self.assertRaises(openai.RateLimitError) as context:
            for _ in range(64):
                stream = self.complete(
                    stream=True, n=4, max_tokens=200, extra_body={"ignore_eos": True}
                )
                streams.enter_context(stream)
        error = context.exception
        self.assertEqual(error.code, "queue_full")
        self.assertTrue(error.response.headers["retry-after"].isdigit())
        wait_for("the cancelled texts to leave", self.server.is_idle, seconds=60)

    def test_request_ids(self):
        raw = self.client.models.with_raw_response.list(extra_headers={"x-request-id": "mine"})
        self.assertEqual(raw.headers["x-request-id"], "mine")

    def test_closing_a_stream_cancels(self):
        for _ in range(20):
            stream = self.complete(stream=True, max_tokens=200, extra_body={"ignore_eos": True})
            self.assertTrue(next(stream).choices)
            stream.close()
        wait_for("the cancelled texts to leave", self.server.is_idle, seconds=60)

    def test_a_timeout_cancels(self):
        hasty = self.connect(timeout=0.01)
        with self.assertRaises(openai.APITimeoutError):
            for _ in range(200):
                self.complete(hasty, max_tokens=200, n=4, extra_body={"ignore_eos": True})
        wait_for("the cancelled texts to leave", self.server.is_idle, seconds=60)


class Asynchronous(unittest.IsolatedAsyncioTestCase):
    async def test_streams_beside_each_other(self):
        with serve(PROGRAM) as server:
            base = f"{server.url}/v1"
            async with openai.AsyncOpenAI(base_url=base, api_key="any", max_retries=0) as client:

                async def text(prompt):
                    stream = await client.completions.create(
                        model=MODEL, prompt=prompt, temperature=0, max_tokens=24, stream=True
                    )
                    return "".join([chunk.choices[0].text async for chunk in stream])

                prompts = [PROMPT, "The dog", "A girl named Lily", "Once upon a tree"]
                alone = [await text(prompt) for prompt in prompts]
                together = await asyncio.gather(*[text(prompt) for prompt in prompts * 4])
            self.assertEqual(together, alone * 4)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    print(f"openai {openai.__version__}")
    unittest.main()
