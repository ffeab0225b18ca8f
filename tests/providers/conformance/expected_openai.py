"""Expectations of the shared recordings: OpenAI and OpenRouter (see ``expectations``)."""

from shared.messages.vocabulary import Outcome
from tests.providers.conformance.reference import Expectation, Hand, Trouble, Vectors

EXPECTED: dict[str, Expectation] = {
    # openai
    "4aae234ed4fa": Trouble(Outcome.QUOTA_EXHAUSTED, "insufficient_quota"),
    "2df940689c6f": Hand("Please play the audio, a", 73, (28, 17, 0, None, 0), ends="p to five words."),
    "99b5b657b359": Hand("Hi there! How can I help", 206, (8, 377, 0, None, 320), ends="ou\u2019d like to do."),
    "efc8b40c68ea": Hand("", 0, (12, 100, 0, None, 100), finish="length"),
    "090b3c538b66": Hand("A tiny blue cartoon character.", 30, (22, 719, 0, None, 704)),
    "e6cc59ece488": Hand('{"name":"Alex Smith","ag', 53, (21, 280, 0, None, 256), ends='"San Francisco"}'),
    "3ce75a3a9ded": Hand("What city or region?", 20, (50, 526, 0, None, 512)),
    "0931c0262339": Hand(
        "",
        0,
        (162, 219, 0, None, 192),
        finish="tool_calls",
        calls=(("get_current_weather", '{"location":"San Francisco, CA"}'),),
    ),
    "bd71e884d79e": Hand("Ball costs 5 cents.\n\nRea", 134, (27, 267, 0, None, 192), ends="0.10 → x = 0.05."),
    "4a06233a19d4": Hand("", 0, (12, 100, 0, None, 100), finish="length"),
    "3b0d97ed737b": Hand("Hi there! How can I help", 209, (None, None, None, None, None), ends="e curious about."),
    "ab1e97bc4753": Trouble(Outcome.BAD_RESPONSE, "no_text"),
    "2aff06d45b88": Hand(
        "",
        0,
        (162, 287, 0, None, 256),
        finish="tool_calls",
        calls=(("get_current_weather", '{"location":"Boston, MA","unit":"fahrenheit"}'),),
    ),
    "6c6081f139e3": Hand(
        " + fib(n-3) + fib(n-4)\n\n", 65, (31, 25, None, None, None), finish="length", ends=":\n        return"
    ),
    "b992458bc560": Hand(
        " + fib(n-3) + fib(n-4)\n\n", 59, (31, 25, None, None, None), finish="length", ends=" n <= 1:\n       "
    ),
    "dfb1f399e738": Hand(
        "",
        0,
        (68, 16, None, None, None),
        finish="tool_calls",
        calls=(("get_current_weather", '{"location":"San Francisco"}'),),
    ),
    "16ab3fcb8585": Hand(
        "",
        0,
        (None, None, None, None, None),
        finish="tool_calls",
        calls=(("get_current_weather", '{"location":"San Francisco"}'),),
    ),
    "4b9236a25af3": Hand("I'm really sorry you're ", 1133, (12, 1888, 0, None, 1600), ends=" safe right now?"),
    "a93a90ea42a9": Trouble(Outcome.CONTENT_POLICY, "refusal"),
    "4997ae66b673": Trouble(Outcome.CONTENT_POLICY, "refusal"),
    "8749483fd2ee": Trouble(Outcome.CONTENT_POLICY, "refusal"),
    "1a4c2ac52a95": Hand(
        "", 0, (53, 15, 0, None, 0), finish="tool_calls", calls=(("get_capital", '{"country":"UK"}'),)
    ),
    "508beff2d199": Hand("The capital of the UK is London.", 32, (78, 9, 0, None, 0)),
    "e92f8fad4022": Vectors(count=3, size=768, begins=(-0.01704, 0.00705, -0.01711, 0.0401), tokens=3),
    "7d1e3b65d542": Vectors(count=1, size=1536, begins=(0.01761, -0.04573, 0.02982, 0.02186), tokens=7),
    "6489c1289810": Vectors(count=1, size=1536, begins=(0.01761, -0.04573, 0.02982, 0.02186), tokens=7),
    "cf0fc8f13da1": Vectors(count=1, size=256, begins=(0.02043, -0.07189, 0.14789, -0.05857), tokens=5),
    "f8347b3a38cb": Trouble(Outcome.INVALID_REQUEST, "unsupported_parameter"),
    "a651963f8f71": Trouble(Outcome.INVALID_REQUEST, "empty_array"),
    "1e05381f0fce": Trouble(Outcome.INVALID_REQUEST, "unknown_model"),
    "69bd63f51ff0": Trouble(Outcome.INVALID_REQUEST, "invalid_request_error"),
    "934f48f896cb": Trouble(Outcome.INVALID_REQUEST, "unknown_model"),
    "99ee982f9bba": Trouble(Outcome.INVALID_REQUEST, "invalid_request_error"),
    "b7e49d378898": Trouble(Outcome.INVALID_REQUEST, "unknown_parameter"),
    "fb8161d385b3": Vectors(count=2, size=5, begins=(0.00573, -0.01273, 0.02004, -0.01344), tokens=12),
    "14cd02faf78b": Trouble(Outcome.QUOTA_EXHAUSTED, "insufficient_quota"),
    "9c5c15e2f31f": Hand("**Holiday Name:** Galaxy", 1842, (16, 363, 0, None, 0), ends="eyond our world."),
    "8a7d7a7ff6e0": Trouble(Outcome.INVALID_REQUEST, "unsupported_parameter"),
    # custom
    "c827d96f0441": Trouble(Outcome.BAD_RESPONSE, "not_json"),
    # openrouter
    "039bbc54e02d": Hand("2 + 2 = 4", 9, (16, 13, 0, 0, 0), cost=81),
    "ef4204d2d485": Hand(
        "",
        0,
        (633, 75, 0, 0, 0),
        finish="tool_calls",
        calls=(("weather", '{"latitude": "52.5200", "longitude": "13.4050"}'),),
        cost=1008,
    ),
    "c87f765da94b": Hand("The current weather in B", 186, (748, 64, 0, 0, 0), ends="ou're going out!", cost=1068),
    "1610042f945d": Hand(
        "",
        0,
        (834, 75, 0, 0, 0),
        finish="tool_calls",
        calls=(("weather", '{"latitude": "48.8575", "longitude": "2.3514"}'),),
        cost=1209,
    ),
    "8d42185274ec": Hand("The current weather in P", 232, (949, 73, 0, 0, 0), ends="e good here too.", cost=1314),
    "9119849d9a4f": Hand("1\n2\n3", 5, (15, 9, 0, 0, 0), cost=60),
    "53c7ebeba052": Hand(
        "",
        0,
        (134, 43, None, None, None),
        finish="tool_calls",
        calls=(("divide", '{"numerator": 123, "denominator": 456, "on_inf": "infinity"}'),),
    ),
    "02dc4b6c6863": Hand("Brief summary\n- Venus is", 3554, (17, 1515, None, None, 704), ends="ould you prefer?"),
    "985e5b7b945a": Hand(
        "Here\u2019s a concise but tho", 5380, (17, 2177, 0, None, 960), ends="lanned missions.", cost=4358
    ),
    "891394db0826": Vectors(count=1, size=768, begins=(-0.06067, -0.0064, -0.02876, 0.00681), tokens=7),
    "a5c01dc568ef": Trouble(Outcome.INVALID_KEY, "http_401"),
    "9c8892b4ad81": Trouble(Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    "3940213faecd": Trouble(Outcome.RATE_LIMITED, "http_429"),
    "baafd4cb5cec": Trouble(Outcome.INVALID_REQUEST, "http_400"),
    "1d46aaf56eb8": Hand("Hello! I'm an AI assista", 75, (7, 35, None, None, None), ends=" help you today?"),
    "2c532e61d690": Hand("The answer to 2 + 2 is 4.", 25, (10, 15, None, None, 12)),
    "3e79e9d93aa2": Hand('{"weather":"75º","game_t', 57, (None, None, None, None, None), ends='required":false}'),
    "b53a29c264f0": Hand("Hello! I'm an AI assista", 53, (None, None, None, None, None), ends=" help you today?"),
}
