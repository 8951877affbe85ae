"""Vocabulary of the generated corpora: words of several everyday domains, written for this project."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Domain:
    """Words of one domain: `nouns` and `places` in the singular; transitive `verbs` in the base form."""

    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    verbs: tuple[str, ...]
    places: tuple[str, ...]


def _domain(nouns: str, adjectives: str, verbs: str, places: str) -> Domain:
    return Domain(tuple(nouns.split()), tuple(adjectives.split()), tuple(verbs.split()), tuple(places.split()))


DOMAINS: tuple[Domain, ...] = (
    _domain(
        "bread soup onion garlic oven knife recipe sauce noodle butter pepper lemon cake dough stew salad mushroom"
        " chickpea kettle pan vinegar honey yoghurt dumpling",
        "crisp salty sweet sour fresh roasted smoky tender spicy homemade frozen leftover",
        "bake roast slice season stir taste simmer marinate serve reheat knead freeze",
        "kitchen bakery market cellar restaurant pantry",
    ),
    _domain(
        "server database query index cache compiler thread packet socket cluster backup password script kernel browser"
        " schema token container deadlock latency pipeline endpoint certificate release",
        "slow distributed stateless encrypted deprecated idle redundant verbose nested asynchronous stale broken",
        "deploy compile debug migrate profile refactor restart monitor encrypt replicate benchmark patch",
        "datacentre terminal repository dashboard staging cloud",
    ),
    _domain(
        "train ticket passport suitcase harbour ferry hostel itinerary museum bridge guide visa flight island border"
        " platform luggage tram castle souvenir map valley monastery ridge",
        "cheap remote crowded scenic delayed overnight coastal historic foggy direct seasonal narrow",
        "book visit cross explore photograph cancel reach board pack recommend reserve avoid",
        "airport station village coast capital mountains",
    ),
    _domain(
        "doctor fever vaccine muscle sleep allergy diet pulse clinic bandage symptom dose nurse injury joint vitamin"
        " headache posture surgery lung therapy wound appetite x-ray",
        "chronic mild painful healthy tired acute infected balanced swollen preventive seasonal severe",
        "treat diagnose prevent stretch relieve measure examine monitor heal prescribe strengthen ease",
        "hospital pharmacy gym ward surgery laboratory",
    ),
    _domain(
        "loan mortgage invoice budget pension tax dividend salary insurance receipt currency deposit bond audit debt"
        " shareholder refund expense auction contract premium interest ledger voucher",
        "fixed overdue annual taxable risky volatile modest secured gross hidden quarterly fair",
        "invest repay calculate deduct insure negotiate approve transfer forecast withdraw claim compare",
        "bank exchange office treasury branch court",
    ),
    _domain(
        "comet enzyme crystal magnet glacier neuron orbit fossil molecule telescope volcano experiment isotope galaxy"
        " bacterium theory spectrum tide particle membrane eclipse sediment hypothesis catalyst",
        "ancient radioactive microscopic frozen distant unstable magnetic transparent rare dense luminous organic",
        "observe measure predict dissolve detect classify simulate heat sample disprove absorb reflect",
        "observatory laboratory ocean desert reef archive",
    ),
    _domain(
        "goal referee racket marathon coach league helmet sprint trophy stadium tournament whistle goalkeeper paddle"
        " injury relay record bicycle pitch medal opponent rematch season penalty",
        "fast exhausted unbeaten muddy junior professional narrow disputed steady brave clumsy final",
        "train defeat score pass win coach defend chase lose sponsor broadcast postpone",
        "stadium track arena club pool park",
    ),
    _domain(
        "roof drill carpet garden fence paint hinge heater curtain shelf pipe lawn ladder tile plaster lamp drain"
        " radiator balcony compost window gutter chimney doorbell",
        "leaking wooden dusty bright cracked insulated cosy damp rusty second-hand sturdy quiet",
        "repair paint install clean replace measure insulate mount water sand tighten remove",
        "garage attic bathroom basement courtyard hallway",
    ),
    _domain(
        "teacher essay novel lecture poem orchestra painting exam library violin sculpture chapter festival degree"
        " actor melody rehearsal scholarship dictionary exhibition critic manuscript choir textbook",
        "abstract famous forgotten lively modern required tragic bilingual optional handwritten public brilliant",
        "study translate perform publish rehearse teach revise illustrate memorise review borrow compose",
        "school theatre university gallery workshop museum",
    ),
)

PEOPLE = (
    "we", "they", "you", "most people", "the neighbours", "her colleagues", "many beginners", "my sisters",
    "the members of the committee", "two friends", "some experts", "visitors", "the twins", "few of us",
)  # fmt: skip
"""Subjects that take a verb in its base form."""

CONNECTIVES = (
    "because", "although", "while", "so that", "before", "after", "until", "whenever", "unless", "even though",
)  # fmt: skip

OPENERS = (
    "In the end", "Last winter", "As a rule", "On most days", "By contrast", "For the first time", "Every spring",
    "According to the report", "To everyone's surprise", "After a long discussion", "In practice", "Without a doubt",
)  # fmt: skip

QUERY_OPENERS = (
    "how to", "what is the best way to", "why should i", "can you safely", "when to", "do i need to", "easiest way to",
    "tips to", "cost to", "is it legal to", "learn to", "where can i",
)  # fmt: skip

PREPOSITIONS = ("with", "near", "without", "under", "behind", "for", "beside", "instead of", "from", "inside")
