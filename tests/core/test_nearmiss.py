"""What speaks against two questions meaning the same, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.nearmiss import MOST_CHARS, differs
from learn.near import read_pairs

LEARN = Path(__file__).parent.parent.parent / "learn"

APART = """
Name the highest mountain in Europe. | Name the highest mountains in Europe.
How do I delete the last commit? | How do I delete the last commits?
Which vitamin A foods are there? | Which vitamin foods are there?
How is hepatitis A treated? | How is hepatitis B treated?
What is hepatitis A? | What is hepatitis?
what is hepatitis a | what is hepatitis
Is it bad for me? | Is it bad?
Can you delete a Slack account? | Delete a Slack account.
Can you turn left on red? | Turn left on red.
How do you make money? | How do I make money?
How do you say thank you in French? | How do you say in French?
How do you say please in French? | How do you say in French?
Well water: is it safe? | Water: is it safe?
Write exactly 100 words about rain. | Write 100 words about rain.
Write at least 100 words about rain. | Write at most 100 words about rain.
Where is the train stop? | Where does the train stop?
How is the bus stop? | How does the bus stop?
Do not delete the file. | Delete the file.
Don't delete the file, rename it. | Delete the file, don't rename it.
I have not tested it. Is it safe? | I have tested it. Is it not safe?
As a manager, how do I hire an employee? | How do I hire an employee as a manager?
How do I close windows? | How do I close Windows?
How can I contact us? | How can I contact US?
Who is it? | WHO is IT?
How do I polish furniture? | How do I Polish furniture?
What is 2+2? | What is 2-2?
What is 5 - 3? | What is 5 3?
What is 10/2? | What is 10*2?
Is x > y? | Is x < y?
Compute f(x). | Compute g(x).
Is 1,000 more than 100? | Is 1.000 more than 100?
Set volume to 5%. | Set volume to 5.
Explain "set" in Python. | Explain "Set" in Python.
Explain set in Python. | Explain sets in Python.
What does the man page of ls say? | What does the main page of ls say?
Add ten more lines. | Add ten lines.
Remove the first and last lines. | Remove the first lines and last.
Is the cat on the mat? | Is the mat on the cat?
Did Bob beat Alice? | Did Alice beat Bob?
Translate from English to German: cat | Translate from German to English: cat
Who did Anna see? | Who saw Anna?
Send the file to Anna from Bob. | Send the file to Bob from Anna.
Between 5 and 10, which is prime? | Between 10 and 5, which is prime?
What is the time in New York? | What is the time in York?
How do I get to the US Open? | How do I get to the open?
The server is down? | The server is down.
You can use it. | Can you use it?
What are the rules for under 18s? | What are the rules for over 18s?
How many people are there? | How many people were there?
Write a test. | Write tests.
Give me a summary. | Give me summaries.
What's new in Python 3.11? | What's new in Python 3.12?
what is new | what is news
How do I get good at chess? | How do I get goods at chess?
Why do cars brake? | Why do cars break?
How do I care for a cat? | How do I car for a cat?
How do I plan a trip? | How do I plane a trip?
How do I run the server? | How do I run the serving?
A few people came. Why? | Few people came. Why?
What is the most common name? | What is most common name?
What is the sum of f(a) and b? | What is the sum of f() and b?
What is x-y? | What is x y?
Das ist gut? | Das ist gut.
The server is down? It has been slow. | The server is down. It has been slow.
Is the only way up? | Is only the way up?
Can I do it? | Could I do it?
I can do it? | Can I do it?
How do I use C? | How do I use C++?
How do I use C#? | How do I use C?
How do I use .NET? | How do I use NET?
Install node.js | Install node js
Run with -v | Run with -V
Run with --dry-run | Run with dry run
open /etc/hosts | open /etc/Hosts
Is this OK? No. | Is this OK? Yes.
Should I take 5 mg? | Should I take 5 Mg?
Does 5 Mb fit? | Does 5 MB fit?
How do I get the max of a list? | How do I get the min of a list?
what does "no" mean | what does no mean
Explain how to win. | Explain how to whine.
Explain why. | Explain how.
Tell me a joke. | Tell him a joke.
What did he say? | What did she say?
Who are my neighbours? | Who are your neighbors?
Let's eat, grandma. Now? | Let's eat grandma now?
No, delete it. | No delete it.
Stop. The test is running. | Stop the test. Is running.
Without tests, how do I deploy? | How do I deploy with tests?
Before Monday, call Anna after Tuesday. | Call Anna before Monday after Tuesday.
In room 2 put a chair in room 3. | Put a chair in room 3 in room 2.
I use Word for letters. How do I print? | I use word for letters. How do I print?
How long is a mile? | How long is a mole?
How do I charge a battery? | How do I discharge a battery?
How much is one euro in dollars? | How much is one dollar in euros?
is python better than java | is java better than python
Who killed whom? | Whom killed who?
List the US states. | List the states.
Name one of the presidents. | Name the presidents.
What can I not eat? | What can I eat?
What is the cap? | What is the gap?
How do I reset it to yesterday? | Yesterday, how do I reset it to?
Today what happened? | What happened?
How do I reply to her thanks? | How do I reply to her?
Hello world in C | World in C
Summarise: I hate it. | Summarise: I hated it.
What is a man's best friend? | What is a men's best friend?
Is Anna's brother Tom's friend? | Is Tom's brother Anna's friend?
If it rains, do we stay? | Do we stay if it snows?
Is there a doctor? | There is a doctor.
What is the dose for a child? | What is the dose for children?
How do I feed a child? | How do I feed children?
Use staging not production. | Use production not staging.
Can dogs eat grapes | Can dogs eat grape seeds
Can you tell me? | Can I tell you?
How do I kill a process? | How do I kill a processor?
Why is the sky blue 🙂? | Why is the sky blue 😡?
x = 1 | x == 1
Give me the price in $. | Give me the price in €.
"""

ALIKE = """
How do I reset my password? | how can i reset my password
How do I reset my password? | Hi there, could you tell me how to reset my password? Thanks in advance!
How do I reset my password? | How would I go about resetting my password?
What is the capital of France? | What's the capital of France
What is the capital of France? | Tell me what the capital of France is.
What is France's capital? | What is the capital of France?
In Python, how do I sort a list? | How do I sort a list in Python?
If I return it, who pays? | Who pays if I return it?
Delete files older than thirty days. | Please delete files older than 30 days.
Explain how photosynthesis works. | How does photosynthesis work?
How do I write an email? | How do I write emails?
What colour is it? | What color is it?
Summarize the text in 1 paragraph. | In one paragraph, summarize the text.
What is 18% of 250? | What is 18 percent of 250?
Is 1,000 prime? | Is 1000 prime?
What does `ls -l` do? | Hi, what does `ls -l` do, please?
How do I use GitHub? | how do i use github
"""

KINDS = [
    ("Add 5 apples.", "Add 6 apples.", "numbers"),
    ("Do it now.", "Do not do it now.", "negation"),
    ("Turn on the light.", "Turn off the light.", "opposites"),
    ("Who is Anna?", "Why is Anna?", "question"),
    ("Fly from Rome to Oslo.", "Fly from Oslo to Rome.", "order"),
    ("What does get_user() do?", "What does set_user() do?", "code"),
    ("Read 'a b' to me.", "Read 'a c' to me.", "quotes"),
    ("Close all the windows.", "Close some of the windows.", "quantity"),
    ("What is my name?", "What is your name?", "person"),
    ("Should I go?", "Could I go?", "modality"),
    ("Wait for an hour.", "Wait for a minute.", "time"),
    ("What is the price?", "What is the size?", "words"),
    ("Wie heißt du?", "Wie heißt er?", "language"),
    ("How do I contact us?", "How do I contact US?", "names"),
]


def _rows(text: str) -> list[list[str]]:
    return [line.split(" | ") for line in text.strip().splitlines()]


@pytest.mark.parametrize(("one", "other"), _rows(APART))
def test_questions_that_only_look_alike_are_told_apart_whichever_was_first(one, other):
    assert differs(one, other)
    assert differs(other, one)


@pytest.mark.parametrize(("one", "other"), _rows(ALIKE))
def test_questions_in_other_words_are_the_same_whichever_was_first(one, other):
    assert differs(one, other) == ""
    assert differs(other, one) == ""


@pytest.mark.parametrize(("one", "other", "reason"), KINDS)
def test_the_reason_says_what_speaks_against_them(one, other, reason):
    assert differs(one, other) == reason


@pytest.mark.parametrize("file", ["near_tune.txt", "near_held.txt"])
def test_no_labelled_near_miss_passes_and_most_paraphrases_do(file):
    pairs = read_pairs(LEARN / file)
    same = [pair for pair in pairs if pair.same]

    assert [pair for pair in pairs if not pair.same and not differs(pair.one, pair.other)] == []
    assert sum(not differs(pair.one, pair.other) for pair in same) > len(same) * 0.6


@pytest.mark.parametrize("text", ["Wie heißt du", "どこですか", "¿Cuál es la capital de Australia", "kubectl pod fix"])
def test_what_is_not_english_is_the_same_letter_by_letter_only(text):
    other = text.replace("a", "e").replace("どこ", "だれ").replace("u", "o").replace("x", "t")

    assert differs(text, f"  {text}.") == ""
    assert differs(text, other) == "language"


def test_lines_of_code_that_are_set_in_otherwise_are_other_code():
    one = "What does this do?\nfor a in b:\n    c(a)\n    d(a)"
    other = "What does this do?\nfor a in b:\n    c(a)\nd(a)"

    assert differs(one, other)
    assert differs(one, "what does this do?  \nfor a in b: \n    c(a)\n    d(a)\n") == ""


def test_a_long_text_is_no_question():
    assert differs("a " * MOST_CHARS, "a " * MOST_CHARS) == "length"


PIECES = [
    ".", "?", ", ", "$", "«", "a", ".-", "/a", "a.", "`", "'", '"', "a@", "1,", "hi ", "the ", "please, ", "?,", "\n",
    "in a ", "is 's ", "a::", "what is ", "- ", "x- ", "\ud800", "🙂",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_nothing_that_is_written_breaks_it(piece):
    one = piece * (MOST_CHARS // len(piece) - 10)

    assert differs(one + " x is the", one + " y is the")
