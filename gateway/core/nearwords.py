"""The words that core/nearmiss.py knows: what says nothing, what says the same, and what turns a meaning round.

Every list errs on the side of a miss: a word that stands in none of them must stand in both texts. Nothing is in a
list of fillers or of synonyms that could change an answer.
"""

from __future__ import annotations

from collections.abc import Mapping


def _pairs(text: str) -> dict[str, str]:
    """`a=b c=d`: each word with what it is written as; an underscore stands for a space."""
    return {one.replace("_", " "): other for one, _, other in (pair.partition("=") for pair in text.split())}


def _phrases(text: str) -> tuple[tuple[str, ...], ...]:
    """Longest first: one may begin another."""
    return tuple(sorted((tuple(one.split()) for one in text.split("|")), key=len, reverse=True))


CONTRACTIONS: Mapping[str, tuple[str, ...]] = {
    "can't": ("can", "not"), "cannot": ("can", "not"), "won't": ("will", "not"), "shan't": ("shall", "not"),
    "i'm": ("i", "am"), "let's": ("let", "us"), "gimme": ("give", "me"), "wanna": ("want", "to"),
    "pls": ("please",), "plz": ("please",), "whats": ("what", "is"), "im": ("i", "am"), "dont": ("do", "not"),
    "doesnt": ("does", "not"), "cant": ("can", "not"), "isnt": ("is", "not"), "wont": ("will", "not"),
}  # fmt: skip
ENDINGS: Mapping[str, str] = {"'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
IS_AFTER = frozenset("what who where when why how it that this there here he she which".split())
"""Before `'s`: is, and no owner."""

NUMBERS: Mapping[str, str] = _pairs(
    "zero=0 one=1 two=2 three=3 four=4 five=5 six=6 seven=7 eight=8 nine=9 ten=10 eleven=11 twelve=12 thirteen=13 "
    "fourteen=14 fifteen=15 sixteen=16 seventeen=17 eighteen=18 nineteen=19 twenty=20 thirty=30 forty=40 fifty=50 "
    "sixty=60 seventy=70 eighty=80 ninety=90 hundred=100 thousand=1000 million=1000000 dozen=12 percent=% "
    "first=1st third=3rd fourth=4th fifth=5th sixth=6th seventh=7th eighth=8th ninth=9th tenth=10th"
)

SYNONYMS: Mapping[str, str] = _pairs(
    "colour=color colours=colors favourite=favorite behaviour=behavior centre=center metre=meter metres=meters "
    "kilometre=kilometer kilometres=kilometers litre=liter litres=liters grey=gray catalogue=catalog "
    "organise=organize organised=organized summarise=summarize analyse=analyze optimise=optimize "
    "travelling=traveling travelled=traveled cancelled=canceled cancelling=canceling labelled=labeled "
    "modelling=modeling licence=license defence=defense programme=program neighbour=neighbor flavour=flavor "
    "honour=honor labour=labor harbour=harbor recognise=recognize realise=realize apologise=apologize "
    "customise=customize minimise=minimize maximise=maximize initialise=initialize serialise=serialize "
    "serialised=serialized normalise=normalize visualise=visualize prioritise=prioritize "
    "larger=bigger largest=biggest large=big quickly=fast "
    "begin=start begins=starts obtain=get utilize=use utilise=use utilizing=using using=with "
    "film=movie films=movies automobile=car cellphone=mobile versus=vs info=information "
    "config=configuration repo=repository db=database e-mail=email webpage=website "
    "max=maximum min=minimum approx=approximately &=and "
    "whether=if until=till grant=give thru=through tv=television "
    "km=kilometers kg=kilograms cm=centimeters mm=millimeters hrs=hours mins=minutes secs=seconds "
    "jan=january feb=february aug=august sept=september oct=october nov=november dec=december "
    "mon=monday tue=tuesday tues=tuesday wed=wednesday thu=thursday thurs=thursday fri=friday"
)

ARTICLES = frozenset("a an the".split())

LEADS = _phrases(
    "i would like to know|i want to know|i need to know|i just want to know|i was wondering|i am wondering|i wonder|"
    "do you know|do you happen to know|any idea|can anyone tell me|can you tell me|could you tell me|would you tell me|"
    "tell me|can you show me|could you show me|show me|can you explain|could you explain|explain|describe|"
    "help me understand|can you help me understand|could you help me understand"
)
"""Before a question word they only lead up to it."""

WISHES = _phrases("i would like you to|i want you to|i need you to|kindly|please")

REQUESTS = frozenset(
    "explain tell show give help write summarize summarise describe list translate suggest recommend compare define "
    "convert calculate draft rewrite".split()
)
"""After `can you`: what is wanted. Of anything else it may be asked whether it can be done."""

ASKED = frozenset("can could would will".split())
POLITE = frozenset("could would".split())
MORE_REQUESTS = frozenset("find fix create generate make provide check turn set add delete remove rename sort".split())
"""After `could you` these are wanted too."""

VERBS = REQUESTS | MORE_REQUESTS

QUESTIONS = frozenset("who whom whose what which when where why how".split())
COPULAS = frozenset("is are".split())
LED_BY_COPULA = frozenset("what who where when which".split())
LED_BY_DO = frozenset("how why".split())
AUXILIARIES = frozenset(
    "is are was were do does did can could will would should shall may might must has have had am".split()
)

HOW_TO = _phrases(
    "how do i|how does one|how can i|how can one|how could i|how would i|how might i|how to|what is way to|"
    "what are steps to|what do i need to do to|what do i have to do to"
)
"""Not `how do you`: that may be asked of whoever answers."""

GO_ABOUT = ("go", "about")

PHRASES: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("number", "of"): ("number_of",), ("how", "many"): ("how_many",), ("how", "much"): ("how_much",),
    ("how", "long"): ("how_long",), ("how", "often"): ("how_often",), ("how", "far"): ("how_far",),
    ("how", "old"): ("how_old",), ("how", "big"): ("how_big",), ("a", "few"): ("a_few",),
    ("a", "little"): ("a_little",), ("the", "most"): ("the_most",), ("the", "only"): ("the_only",),
    ("give", "me", "a", "list", "of"): ("list",), ("make", "a", "list", "of"): ("list",),
    ("write", "me"): ("write",), ("show", "me"): ("show",), ("in", "order", "to"): ("to",),
    ("log", "in"): ("login",), ("sign", "in"): ("login",), ("logged", "in"): ("loggedin",),
    ("two", "factor"): ("2fa",), ("2", "factor"): ("2fa",), ("cell", "phone"): ("mobile",),
    ("mobile", "phone"): ("mobile",), ("web", "site"): ("website",), ("hot", "dog"): ("hotdog",),
    ("am", "i", "able", "to"): ("can", "i"), ("as", "well", "as"): ("and",),
    ("what", "exactly"): ("what",), ("how", "exactly"): ("how",),
}  # fmt: skip
"""Read on words in lower case, articles included, before anything is left out."""

FREE = frozenset(
    "in on at for with during before after without within under between by if since until "
    "yesterday today tomorrow".split()
)
"""What begins with one of these may stand before a sentence as well as behind it."""

LINKS = FREE | frozenset("to from of than about and or not".split())

ALONE = frozenset("no yes never".split())
"""Before a comma they answer something else."""

NO_PLURAL = frozenset(
    "news goods customs means glasses physics economics politics mathematics statistics series species arms "
    "times minutes class glass process access address pass miss business always less unless across windows this his "
    "its us thus plus bus gas status analysis basis crisis lens does has was is as yes james paris "
    "shorts pants jeans thanks savings earnings headquarters contents manners odds stairs scissors trousers".split()
)
SINGLED = frozenset(
    "last first next previous latest newest oldest current each every another this that these those one single both "
    "all any some no other same".split()
)
"""Beside these one and several are two things, as beside a superlative."""

NO_GERUND = frozenset("building training thing nothing something everything anything string king ring spring wing "
                      "morning evening during sing bring meaning painting drawing meeting wedding ceiling "
                      "housing clothing".split())  # fmt: skip

CASED = frozenset(
    "us it who may march august polish turkey china apple windows word excel office access teams slack oracle spring "
    "go rust swift ruby dart julia scheme basic notes pages numbers keynote meta amazon shell target gap "
    "visa bath reading nice mobile cork jordan chad georgia guinea will mark bill frank rose grace hope joy jack pat "
    "art dawn eve faith iris ivy june may april summer autumn sun earth mercury mars saturn god mass lent job am or "
    "and not all in on no is are pole poles finish dutch scotch welsh thai express next vue angular react flask "
    "rails unity unreal blender hive pig spark storm helm salt puppet chef ant".split()
)
"""Means something else when it is written with capitals."""

NEGATIONS = frozenset(
    "not no never none nothing nobody nowhere neither nor without except unless but hardly barely rarely seldom "
    "excluding exclude excludes lack lacks fail fails avoid".split()
)
QUANTITIES = frozenset(
    "all any some every each both either most many much few a_few a_little little several only just always often "
    "sometimes usually more less fewer least the_most the_only half double twice once single whole entire total "
    "average".split()
)
PERSONS = frozenset(
    "i me my mine we us our ours you your yours he him his she her hers it its they them their theirs".split()
)
MODALS = frozenset("can could may might must shall should will would ought was were did had has have".split())
UNITS = frozenset(
    "second seconds minute minutes hour hours day days week weeks month months year years meter meters kilometer "
    "kilometers mile miles inch inches foot feet yard yards centimeters millimeters gram grams kilograms pound pounds "
    "ounce ounces liter liters milliliters gallon gallons dollar dollars euro euros yen degree degrees milliseconds "
    "today yesterday tomorrow now monday tuesday wednesday thursday friday saturday sunday january february april "
    "june july september october november december morning evening night".split()
)

OPPOSITES: Mapping[str, str] = {
    one: other
    for pair in "on=off enable=disable enabled=disabled increase=decrease before=after maximum=minimum start=stop "
    "open=close high=low big=small bigger=smaller biggest=smallest fast=slow fastest=slowest buy=sell import=export "
    "upload=download read=write add=remove add=drop create=delete keep=delete keep=drop allow=deny accept=reject "
    "up=down in=out left=right best=worst good=bad cheap=expensive first=last old=new older=newer lock=unlock "
    "show=hide include=exclude more=less most=least with=without legal=illegal safe=unsafe do=undo redo=undo to=from "
    "since=till rise=fall hard=soft give=deny encrypt=decrypt push=pull love=hate win=lose true=false above=below "
    "inside=outside income=expense credit=debit arrive=depart mount=unmount install=uninstall load=unload".split()
    for one, other in (pair.split("="), pair.split("=")[::-1])
}
TURNERS = ("un", "in", "im", "il", "ir", "dis", "non", "de", "re")

FOREIGN = frozenset(
    "der das und ist nicht ein eine ich wie mein dein kann el los las que como una por para mi tu es le les des est "
    "pas il une je ma mon ta dans pour che per non gli sono uma nao meu het een van ik hoe niet det och att jeg "
    "ikke".split()
)
"""Of the languages that share words with English."""

KNOWN = frozenset(
    "a an the of to in on at for with by from as is are was were be been do does did have has had can could will would "
    "should may might must i you he she it we they me my your his her our their this that these those and or not no "
    "but if than then so what who when where why which how there here please about into between after before without "
    "all any some more most tell give show write make explain use list".split()
)
"""Of a text in English, about every third word is one of these."""

BRANDS = frozenset(
    "github gitlab javascript typescript postgresql mysql mongodb iphone ipad macos ios youtube linkedin graphql "
    "openai chatgpt devops whatsapp paypal ebay powershell wordpress vscode tensorflow pytorch numpy scipy sqlite "
    "deepseek facebook icloud airpods macbook sharepoint onedrive salesforce".split()
)
"""Names with a capital inside that are no identifiers of a program."""
