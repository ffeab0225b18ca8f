"""Expectations of the shared recordings: Mistral, Groq, Zhipu and Replicate (see ``expectations``)."""

from shared.messages.vocabulary import Outcome
from tests.providers.conformance.reference import Expectation, Hand, Trouble, Vectors, Waiting

EXPECTED: dict[str, Expectation] = {
    # mistral
    "06986bd8ca02": Trouble(Outcome.RATE_LIMITED, "rate_limited"),
    "3285ce5add95": Trouble(Outcome.PROVIDER_ERROR, "service_tier_capacity_exceeded"),
    "ea414c15362f": Hand("2 + 2 equals **4**.", 19, (23, 9, 0, None, None)),
    "64319546afd6": Hand(
        "",
        0,
        (159, 28, 128, None, None),
        finish="tool_calls",
        calls=(("weather", '{"latitude": "52.5200", "longitude": "13.4050"}'),),
    ),
    "7bdf8815c1b1": Hand("The current weather in B", 109, (222, 43, 192, None, None), ends=" of **10 km/h**."),
    "775172c98f7f": Hand(
        "",
        0,
        (291, 27, 192, None, None),
        finish="tool_calls",
        calls=(("weather", '{"latitude": "48.8575", "longitude": "2.3514"}'),),
    ),
    "2889efd5f322": Hand("The current weather in P", 107, (352, 42, 320, None, None), ends=" of **10 km/h**."),
    "3a2792c40b48": Hand("144", 3, (31, 66, 0, None, None)),
    "879849eafc89": Hand("1, 2, 3", 7, (22, 8, 0, None, None)),
    "9698024c33cd": Hand("Hello! 😊 How can I assis", 131, (4, 36, 0, None, None), ends="'m here for you!"),
    "5be63d2df036": Hand("cache probe one.", 16, (253, 5, 0, None, None)),
    "c7b12339a294": Hand("cache probe two.", 16, (268, 5, 224, None, None)),
    "438902c6b8e2": Vectors(count=1, size=1024, begins=(-0.04834, -0.02341, 0.05075, -0.02538), tokens=11),
    "1a42cdef4695": Vectors(count=3, size=1024, begins=(-0.03427, 0.00425, 0.07184, -0.01259), tokens=9),
    "08327cbfef8b": Trouble(Outcome.INVALID_KEY, "http_401"),
    "2eec9469dfd6": Hand("Hello, world! This is a test response.", 38, (13, 8, None, None, None)),
    "81932fbe0f41": Hand('**Holiday Name: "World K', 1925, (13, 434, None, None, None), ends="uld you share? 😊"),
    "33f690f7d3c9": Hand(
        "", 0, (124, 22, None, None, None), finish="tool_calls", calls=(("weather", '{"location": "San Francisco"}'),)
    ),
    "16251e3296af": Hand("I am a text-based AI mod", 260, (7, 62, None, None, None), ends="f if you'd like."),
    "4322f3bc1c69": Hand(
        "",
        0,
        (164, 25, None, None, None),
        finish="tool_calls",
        calls=(("search", '{"query": "Detroit Tigers game time today"}'), ("weather", '{"city": "Detroit"}')),
    ),
    # groq
    "722a64a770d3": Trouble(Outcome.RATE_LIMITED, "rate_limit_exceeded"),
    "6894fac6d7ce": Trouble(Outcome.CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded"),
    "b2c2e1ecdf99": Hand("Hello! It's nice to meet", 95, (12, 24, None, None, None), ends="ou like to chat?"),
    "a179fb8f01d1": Hand("The capital of France is Paris.", 31, (48, 8, None, None, None)),
    "022e6d2c527d": Hand('{"city":"Mexico City","c', 41, (178, 94, None, None, None), ends='untry":"Mexico"}'),
    "f7b233b0d1f0": Hand("The fruit depicted in th", 543, (749, 107, None, None, None), ends="ows underground."),
    "25e988586b4d": Trouble(Outcome.BAD_RESPONSE, "tool_use_failed"),
    "65514ad8b689": Hand(
        "", 0, (304, 49, None, None, 23), finish="tool_calls", calls=(("get_something_by_name", '{"name":"example"}'),)
    ),
    "1845b004bc36": Hand("The tool returned the ex", 57, (339, 58, None, None, 38), ends=" the valid call."),
    "72278b4092ba": Trouble(Outcome.INVALID_REQUEST, "unknown_model"),
    "e02140ac7c9c": Trouble(Outcome.INVALID_REQUEST, "unknown_model"),
    "ce2ae3365864": Trouble(Outcome.BAD_RESPONSE, "tool_use_failed"),
    "b30ee73b9025": Hand(
        "", 0, (301, 52, None, None, 22), finish="tool_calls", calls=(("get_something_by_name", '{"name":"test"}'),)
    ),
    "0efba6012b41": Hand("The first call failed du", 140, (336, 96, 256, None, 59), ends='ith name: test".'),
    "2749d3e11b3e": Hand("I'd like to introduce \"L", 2953, (45, 607, None, None, None), ends="e radiant world."),
    "217cab7759b3": Hand("", 0, (210, 15, None, None, None), finish="tool_calls", calls=(("weather", "{}"),)),
    "fc36356589f9": Hand("", 0, (218, 15, None, None, None), finish="tool_calls", calls=(("weather", "{}"),)),
    "a752a4f49477": Hand("Hello! I'm Groq AI, your", 152, (7, 50, None, None, None), ends="ssist you today?"),
    "ee61bf8a7f23": Hand(
        "I'll help you find out a",
        68,
        (None, None, None, None, None),
        finish="tool_calls",
        ends="ther in Detroit.",
        calls=(("search", '{"query":"Detroit Tigers game today time schedule"}'),),
    ),
    # zhipu
    "b4e8175afd58": Trouble(Outcome.RATE_LIMITED, "rate_limit_exceeded"),
    "4cc067b296c7": Trouble(Outcome.RATE_LIMITED, "rate_limit_exceeded"),
    "aaf3b357f679": Hand("2 + 2 is 4.", 11, (13, 437, 0, None, 427)),
    "5abaf4fd5906": Hand("2 + 2 = 4", 9, (20, 67, 0, None, 58)),
    "4059eed8c19a": Hand("2 + 2 is 4.", 11, (13, 247, 0, None, 237)),
    "ea33ea4b416d": Hand("4", 1, (13, 564, 0, None, 561)),
    "0315dfaf18ba": Hand("Hello! How can I help you today?", 32, (9, 12, None, None, None)),
    "4efdb1b9ec4c": Hand(
        "\nI'll help you find the ",
        159,
        (272, 210, 271, None, None),
        finish="tool_calls",
        ends="mation for you.\n",
        calls=(("search_games", '{"city":"Detroit"}'), ("get_weather", '{"city":"Detroit"}')),
    ),
    "f6b5870a4799": Hand('{"message":"That\'s a fan', 570, (1309, 129, 1227, None, None), ends='_question":true}'),
    "aa1a2cf59b1e": Hand("\nThis image is a **styli", 457, (853, 199, 5, None, None), ends="lic art. Diamond"),
    # replicate
    "1bf9565fb7cd": Trouble(Outcome.RATE_LIMITED, "http_429"),
    "8ce2fb99a4d4": Trouble(Outcome.INVALID_KEY, "http_401"),
    "c9b7d03feeff": Waiting(id="to5tvnrbh43inejuzpcz27oqse", stream=None),
    "1bdc4d828bb4": Waiting(id="heat2o3bzn3ahtr6bjfftvbaci", stream=None),
    "2f39668ad5cb": Waiting(
        id="4awn473bsrztjzlx2b6ufoxkkm",
        stream="https://streaming-api.svc.us.c.replicate.net/v1/predictions/4awn473bsrztjzlx2b6ufoxkkm",
    ),
    "19b9ee57d2a9": Waiting(
        id="pw050dtb51rj40cjb2vrcw97b8",
        stream="https://streaming-api.svc.rno2.c.replicate.net/v1/streams/3qkvm3bnqhaadgonsecw4twhnzlqi5s4sb5tgts72bo6c5wmjppq",
    ),
    "80eb399b65fd": Waiting(
        id="jp9nrd1g2hrj20cjb2vrb55mkr",
        stream="https://streaming-api.svc.rno2.c.replicate.net/v1/streams/b4yonjrmynb65tnkucuqc4duawdekslfzexk5itczufef2u36b7a",
    ),
    "db1144291e5f": Waiting(id="cjt2hahk61rgp0cf0p2arcdp9r", stream=None),
    "e1a25a8733ee": Waiting(id="vpx8dks2pnrgg0cf0p2b7p13hc", stream=None),
    "26ff6cf1ecf4": Waiting(id="vcp9g11jexrgp0cf0p2bweyqyg", stream=None),
}
