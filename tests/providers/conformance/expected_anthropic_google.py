"""Expectations of the shared recordings: Anthropic and Gemini (see ``expectations``)."""

from shared.messages.vocabulary import Outcome
from tests.providers.conformance.reference import Expectation, Hand, Trouble, Vectors

EXPECTED: dict[str, Expectation] = {
    # anthropic
    "6251649a0580": Hand("2 + 2 = 4", 9, (16, 13, 0, 0, None)),
    "5320c6b9cf46": Hand("# Weather Overview\n\nI'd ", 1166, (32, 269, 0, 0, None), ends="know more about?"),
    "d3d7c031b03d": Hand(
        "",
        0,
        (633, 75, 0, 0, None),
        finish="tool_calls",
        calls=(("weather", {"latitude": "52.5200", "longitude": "13.4050"}),),
    ),
    "55b651db4f30": Hand("The weather in Berlin is", 158, (748, 49, 0, 0, None), ends="around the city!"),
    "a6927adf6696": Hand(
        "",
        0,
        (819, 75, 0, 0, None),
        finish="tool_calls",
        calls=(("weather", {"latitude": "48.8575", "longitude": "2.3514"}),),
    ),
    "edad0d901496": Hand("The weather in Paris is ", 172, (934, 53, 0, 0, None), ends="t winds at 15°C."),
    "85636a4a242e": Hand("1\n2\n3", 5, (15, 9, 0, 0, None)),
    "52791c44991a": Hand("I'd ask: **\"What would y", 1253, (80, 638, 0, 0, 353), ends="to this paradox?"),
    "6a4a8079e927": Hand("# What is Python?\n\nPytho", 1561, (1114, 406, 1111, 0, None), ends=", and Instagram."),
    "f2e8b2190353": Hand("Python is a beginner-fri", 164, (1532, 33, 1111, 418, None), ends="tific computing."),
    "31eb466c3657": Hand("This is a potato. It's a", 366, (296, 91, 0, 0, None), ends="ing, or mashing."),
    "e53f7da41f2a": Hand(
        "I'll help you find out w",
        156,
        (423, 202, 0, 0, None),
        finish="tool_calls",
        ends="pare their ages.",
        calls=(
            ("retrieve_entity_info", {"name": "Alice"}),
            ("retrieve_entity_info", {"name": "Bob"}),
            ("retrieve_entity_info", {"name": "Charlie"}),
            ("retrieve_entity_info", {"name": "Daisy"}),
        ),
    ),
    "8ddc6718f307": Hand("Based on the retrieved i", 340, (771, 77, 0, 0, None), ends=" family members."),
    "029b31efe463": Trouble(Outcome.INVALID_KEY, "authentication_error"),
    "e154cd7c15e0": Trouble(Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    "773ece5487d2": Trouble(Outcome.INVALID_REQUEST, "invalid_request_error"),
    "73062b11c34b": Trouble(Outcome.INVALID_REQUEST, "unknown_model"),
    "e31f041db64e": Trouble(Outcome.CONTENT_POLICY, "refusal"),
    "ed8b9a5f6db1": Trouble(Outcome.CONTENT_POLICY, "refusal"),
    "2c72c1df8825": Hand("Hello! I'm doing well, t", 108, (12, 30, 0, 0, None), ends="n help you with?"),
    "c0216adbb720": Hand("Hello! I'm doing well, t", 105, (12, 29, 0, 0, None), ends="n help you with?"),
    "fb35e79008ad": Hand(
        "I'll update the issue list for you.",
        35,
        (565, 48, 0, 0, None),
        finish="tool_calls",
        calls=(("updateIssueList", {}),),
    ),
    "62f3611f1655": Hand(
        "<thinking>\nThe updateIss",
        255,
        (602, 93, 0, 0, None),
        finish="tool_calls",
        ends="rent issue list:",
        calls=(("updateIssueList", {}),),
    ),
    # google
    "9e5ee216842e": Hand("2 + 2 = **4**", 13, (10, 31, None, None, 23)),
    "d2a205392fbe": Hand(
        "",
        0,
        (103, 73, None, None, 43),
        finish="tool_calls",
        calls=(("weather", {"latitude": "52.5200", "longitude": "13.4050"}),),
    ),
    "cf9fddfcf55e": Hand("The weather in Berlin is", 53, (233, 21, None, None, None), ends="wind of 10 km/h."),
    "be620d125779": Hand(
        "",
        0,
        (238, 29, None, None, None),
        finish="tool_calls",
        calls=(("weather", {"longitude": "2.3514", "latitude": "48.8575"}),),
    ),
    "4c6559f57453": Hand("The weather in Paris is ", 52, (323, 95, None, None, 74), ends="wind of 10 km/h."),
    "7c1c9aad7816": Hand("Let's think step-by-step", 201, (13, 208, None, None, 137), ends="\n\nSo, 2 + 2 = 4."),
    "877f7d1f6b4a": Hand("I see a faceted, deep re", 251, (267, 420, None, None, 373), ends="ming language**."),
    "af2ecea9940f": Hand("The capital of France is", 24, (15, 5, None, None, None), finish="length"),
    "a9dee60fcb93": Trouble(Outcome.CONTENT_POLICY, "safety"),
    "95f3381a31da": Hand("The capital of France is Paris.\n", 32, (13, 8, None, None, None)),
    "7fc9d430945e": Hand(
        "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n", 80, (18, 115, None, None, 35), ends="5\n26\n27\n28\n29\n30"
    ),
    "0d5e1c107e17": Vectors(count=1, size=768, begins=(0.0138, 0.00995, 0.00174, -0.09153), tokens=None),
    "39407c11910e": Vectors(count=3, size=768, begins=(-0.00876, -0.00913, -0.01338, -0.06195), tokens=None),
    "d76705398292": Trouble(Outcome.INVALID_REQUEST, "unknown_model"),
    "d86810fbfbcf": Trouble(Outcome.INVALID_KEY, "API_KEY_INVALID"),
    "c7c89cb6a203": Trouble(Outcome.RATE_LIMITED, "RESOURCE_EXHAUSTED"),
    "28bb9645a5de": Trouble(Outcome.INVALID_REQUEST, "unknown_model"),
    "f2fd0540f7a2": Trouble(Outcome.RATE_LIMITED, "RESOURCE_EXHAUSTED"),
    "7f81d995ff19": Hand('There are **3** "r"s in ', 55, (9, 208, None, None, 185), ends="**r**awbe**rr**y"),
    "5eb4115eea1a": Hand("There are **3** r's in s", 78, (9, 272, None, None, 244), ends="*r**awbe**rr**y."),
    "49cc277e8820": Hand(
        "", 0, (29, 60, None, None, 45), finish="tool_calls", calls=(("weather", {"location": "San Francisco"}),)
    ),
    "b36405c456b0": Hand(
        "", 0, (29, 908, None, None, 893), finish="tool_calls", calls=(("weather", {"location": "San Francisco"}),)
    ),
}
