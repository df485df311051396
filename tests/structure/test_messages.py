"""Every message of the server's log is on docs/reference/messages.md, with what it means and what to do."""

from collections import Counter

from scache_docs import messages
from scache_docs.log_calls import VALUE, collect

PASSED_ON = {
    "engine/server.py": 1,
    "process/child.py": 2,
    "process/closing.py": 4,
    "process/master.py": 2,
    "process/serving.py": 1,
    "process/socket_watch.py": 1,
    "process/standalone.py": 1,
    "settings/sources.py": 1,
}
"""Where a text is passed on to the log as a whole, by how many calls: it is collected from where it is made."""


def test_each_message_of_the_code_is_explained() -> None:
    explained = {messages.normal(each["text"]) for part in messages.sections().values() for each in part}
    code = messages.texts_in_the_code()
    unknown = [f"{code[text][0].place}: {text!r}" for text in code if text not in explained]
    assert unknown == [], "say in docs/scache_docs/messages.toml what they mean, and run make spec"
    assert explained - set(code) == set(), "no code writes these any more: take them out of messages.toml"


def test_nothing_is_explained_twice_or_by_halves() -> None:
    for section, part in messages.sections().items():
        for each in part:
            assert each.keys() == {"text", "means", "do"}
            assert all(each.values())
        # Two messages may differ by nothing but their values: then they are in different sections.
        assert len({messages.normal(each["text"]) for each in part}) == len(part), section


def test_texts_are_written_where_they_can_be_collected() -> None:
    found = Counter(call.place.partition(":")[0] for call in collect(messages.CODE) if call.text == VALUE)
    assert found == PASSED_ON, "write the text into the call, so that its message is found"
