"""Policy files are read before any is written: what we do not know in them is refused, and so is what we never give."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.domain.errors import WrongSetUp
from readingroom.domain.vault_policy import PathRule, check_policy, read_policy
from tests.unit.vault.definitions import shipped

GOOD = """# why
path "rr-pseudonym/hmac/${project}/sha2-256" {
  capabilities = ["update"]
  required_parameters = ["input", "key_version"]
  denied_parameters = {
    "input" = [""]
    "key_version" = [""]
  }
  allowed_parameters = {
    "input" = ["YQ==", "Yg=="]
    "key_version" = ["1"]
  }
}
"""


def one(path: str, *capabilities: str) -> str:
    inside = ", ".join(f'"{each}"' for each in capabilities)
    return f'path "{path}" {{\n  capabilities = [{inside}]\n}}\n'


def test_a_policy_is_read_as_it_is_written() -> None:
    assert read_policy("deid", GOOD) == [
        PathRule(
            path="rr-pseudonym/hmac/${project}/sha2-256",
            capabilities=frozenset({"update"}),
            required=("input", "key_version"),
            allowed={"input": ("YQ==", "Yg=="), "key_version": ("1",)},
            denied={"input": ("",), "key_version": ("",)},
        )
    ]


def test_whoever_may_sign_a_certificate_sends_a_request_and_nothing_else() -> None:
    rules = [rule for name, text in shipped().policies.items() for rule in read_policy(name, text)]
    signing = [rule for rule in rules if rule.path.startswith("rr-pki/sign/")]
    assert len(signing) > 3
    assert {str(rule.allowed) for rule in signing} == {"{'csr': ()}"}


def test_every_shipped_policy_keeps_the_rules_and_says_something() -> None:
    for name, text in shipped().policies.items():
        check_policy(name, text)
        assert read_policy(name, text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD.replace("capabilities", "capabilites"), "line 3: capabilites is an unknown key"),
        (GOOD.replace("allowed_parameters", "allowed_parameter"), "line 9: allowed_parameter is an unknown key"),
        (GOOD.replace("denied_parameters", "allowed_parameters"), "line 9: allowed_parameters .* stands twice"),
        (GOOD.replace("required_parameters", "min_wrapping_ttl"), "line 4"),
        (GOOD.replace("# why", "rule"), "line 1: path is expected"),
        (GOOD.replace('["YQ==", "Yg=="]', '["YQ==" "Yg=="]'), "line 10"),
        (GOOD.replace('"key_version" = ', '"input" = '), "line 7: input stands twice"),
        (GOOD.replace('["1"]', "[1]"), "line 11 cannot be read"),
        (GOOD.replace('["1"]', '"1"'), r"line 11: \[ is expected"),
        (GOOD.rstrip().removesuffix("}"), "a key is expected"),
        (GOOD + "path", "a text in quotes is expected"),
        (GOOD.replace("path ", "Path "), "cannot be read"),
        (GOOD.replace('["update"]', '["update"]\n capabilities = ["read"]'), "stands twice"),
        (GOOD.replace('"rr-ps', '"rr\\"-ps'), "cannot be read"),
        ("// a comment of another kind\n" + GOOD, "line 1 cannot be read"),
    ],
)
def test_what_is_no_policy_of_ours_is_refused_with_its_line(text: str, why: str) -> None:
    with pytest.raises(WrongSetUp, match=why):
        check_policy("deid", text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (one("a/b", "sudo", "read"), "has a capability"),
        (one("a/b", "patch"), "has a capability"),
        (one("a/b"), "has a capability"),
        ('path "a/b" {\n}\n', "has a capability"),
        (one("rr-kv/data/projects/*", "read"), "wildcard"),
        (one("rr-kv/data/projects/+/hub", "read"), "wildcard"),
        (one("*", "deny"), "wildcard"),
        (one("rr-kv/metadata/projects", "list"), "would list data"),
        (one("rr-pseudonym/keys", "list"), "would list data"),
        (one("rr-envelope/encrypt/demo-data", "create", "update"), "`update` alone"),
        (one("rr-envelope/decrypt/demo-data", "read"), "`update` alone"),
        (one("rr-sign/sign/release", "create"), "`update` alone"),
        (one("rr-pki/sign/portal", "create"), "`update` alone"),
        (one("a/b", "read") + one("a/b", "update"), "stands twice"),
        (GOOD.replace('"key_version" = [""]', ""), "does not deny the empty one"),
        (GOOD.replace('"key_version" = [""]', '"key_version" = ["2"]'), "does not deny the empty one"),
    ],
)
def test_what_we_never_give_is_refused(text: str, why: str) -> None:
    with pytest.raises(WrongSetUp, match=why):
        check_policy("portal", text)


def test_only_the_configurer_has_wildcards_and_it_uses_no_key_either() -> None:
    check_policy("configure-vault", one("rr-envelope/keys/+", "create", "read", "update"))
    with pytest.raises(WrongSetUp, match="`update` alone"):
        check_policy("configure-vault", one("rr-envelope/decrypt/+", "create", "update"))


TEXT = st.text(st.characters(exclude_characters='"\\\n', exclude_categories=["Cs"]), max_size=12)


@given(
    st.lists(
        st.builds(
            PathRule,
            path=TEXT,
            capabilities=st.frozensets(TEXT, min_size=1),
            required=st.lists(TEXT).map(tuple),
            allowed=st.dictionaries(TEXT, st.lists(TEXT).map(tuple)),
            denied=st.dictionaries(TEXT, st.lists(TEXT).map(tuple)),
        )
    ),
    st.sampled_from([" ", "\n", '\n# a } comment { "\n']),
)
def test_whatever_is_written_in_the_grammar_is_read_back_the_same(rules: list[PathRule], blank: str) -> None:
    def texts(values: Iterable[str]) -> str:
        return "[" + ", ".join(f'"{each}"' for each in values) + "]"

    def table(rows: Mapping[str, Iterable[str]]) -> str:
        return blank.join(["{", *(f'"{key}" = {texts(values)}' for key, values in rows.items()), "}"])

    text = ""
    for rule in rules:
        lines = [f"capabilities = {texts(rule.capabilities)}", f"required_parameters = {texts(rule.required)}"]
        lines += [f"allowed_parameters = {table(rule.allowed)}", f"denied_parameters = {table(rule.denied)}"]
        text += blank.join([f'path "{rule.path}" {{', *lines, "}", ""])
    assert read_policy("p", text) == rules


@given(st.text('path "a"{}[]=,#\n\\', max_size=60))
def test_nothing_but_a_plain_refusal_comes_out_of_any_text(text: str) -> None:
    with contextlib.suppress(WrongSetUp):
        check_policy("p", text)
