"""What Vault must be like for these projects: restated by hand, and refused before anything is planned where it is off."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom import contract
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.vault_documents import PROJECT, Definition, Kind, Setting
from readingroom.domain.vault_plan import (
    Project,
    bootstrap,
    check_can_mend,
    check_projects,
    differences,
    finding,
    fingerprint,
    own_paths,
    wanted,
)
from readingroom.domain.vault_policy import read_policy
from tests.unit.vault.definitions import CLOSED_HEART, ISSUER, OPEN_HEART, OPEN_LUNG, changed, shipped

IDS = st.from_regex(contract.PROJECT_ID, fullmatch=True).filter(lambda each: each not in contract.RESERVED_PROJECTS)
PROJECTS = st.lists(
    st.builds(Project, id=IDS, phase=st.sampled_from(["open", "closed"])), max_size=4, unique_by=lambda each: each.id
)


def paths(*projects: Project) -> set[str]:
    return {setting.path for setting in wanted(shipped(), projects).settings}


def at(path: str, *projects: Project) -> Mapping[str, Any]:
    return next(each.document for each in wanted(shipped(), projects).settings if each.path == path)


class TestWhatIsWanted:
    def test_an_open_project_has_keys_policies_logins_and_a_certificate_and_nothing_else(self) -> None:
        assert paths(OPEN_LUNG) - paths() == {
            "rr-pseudonym/keys/lung-ct",
            "rr-envelope/keys/lung-ct-data",
            *(f"sys/policies/acl/rr-{name}-lung-ct" for name in ("hub", "edge", "deid", "cut", "portal-project")),
            *(f"auth/rr-cluster/role/{name}-lung-ct" for name in ("hub", "edge", "deid", "cut")),
            "rr-pki/roles/edge-lung-ct",
        }

    def test_a_closed_project_keeps_its_keys_and_loses_the_rest(self) -> None:
        was, now = paths(OPEN_HEART), paths(CLOSED_HEART)
        assert now - paths() == {"rr-pseudonym/keys/heart", "rr-envelope/keys/heart-data"}
        assert set(wanted(shipped(), [CLOSED_HEART]).gone) == was - now
        assert "rr-portal-project-heart" not in at("auth/rr-cluster/role/portal", CLOSED_HEART)["token_policies"]
        assert wanted(shipped(), [CLOSED_HEART]).seeds.keys() == wanted(shipped(), []).seeds.keys()

    def test_the_portal_gets_one_policy_for_each_open_project(self) -> None:
        assert at("auth/rr-cluster/role/portal", OPEN_LUNG, OPEN_HEART)["token_policies"] == [
            "rr-portal", "rr-session", "rr-portal-project-heart", "rr-portal-project-lung-ct",
        ]  # fmt: skip

    def test_a_login_is_for_exactly_one_account_from_pods_for_minutes(self) -> None:
        document = at("auth/rr-cluster/role/deid-lung-ct", OPEN_LUNG)
        assert document == {
            "role_type": "jwt",
            "bound_audiences": ["rr-vault"],
            "bound_subject": "system:serviceaccount:rr-quarantine:deid-lung-ct",
            "bound_claims_type": "string",
            "bound_claims": {"/kubernetes.io/namespace": "rr-quarantine"},
            "user_claim": "/kubernetes.io/serviceaccount/uid",
            "user_claim_json_pointer": True,
            "token_policies": ["rr-deid-lung-ct", "rr-session"],
            "token_no_default_policy": True,
            "token_type": "service",
            "token_ttl": 900,
            "token_max_ttl": 900,
            "token_num_uses": 8,
            "token_bound_cidrs": [contract.POD_RANGE],
            "expiration_leeway": 5,
            "not_before_leeway": 5,
            "clock_skew_leeway": 5,
        }
        assert at("auth/rr-cluster/role/portal", OPEN_LUNG)["token_max_ttl"] == 86_400
        assert at("auth/rr-cluster/role/portal", OPEN_LUNG)["token_num_uses"] == 0

    def test_the_five_inputs_of_the_policy_are_the_five_purposes_of_the_contract(self) -> None:
        (rule, _) = read_policy("deid", shipped().policies["deid"])
        inputs = {base64.b64decode(each).decode() for each in rule.allowed["input"]}
        assert inputs == {f"rr/deid/v1/{purpose}" for purpose in contract.PURPOSES}
        assert rule.allowed["key_version"] == ("1",)
        assert set(rule.required) == {"input", "key_version"}

    def test_keys_are_closed_and_made_once(self) -> None:
        keys = [each for each in wanted(shipped(), [OPEN_LUNG]).settings if each.kind is Kind.KEY]
        assert [(each.path, each.document["type"], each.fixed) for each in keys] == [
            ("rr-pseudonym/keys/lung-ct", "hmac", True),
            ("rr-envelope/keys/lung-ct-data", "aes256-gcm96", True),
            ("rr-pseudonym/keys/holdout", "hmac", True),
            ("rr-envelope/keys/holdout-data", "aes256-gcm96", True),
        ]
        assert all(not each.document["exportable"] and not each.document["allow_plaintext_backup"] for each in keys)

    def test_the_configurer_does_not_plan_its_own_rights_and_the_keeper_does(self) -> None:
        assert not own_paths() & paths(OPEN_LUNG)
        first = bootstrap(shipped(), ISSUER, {"file": "/a", "second": "/b"})
        assert own_paths() <= {each.path for each in first}
        assert [each.path for each in first if each.kind is Kind.AUDIT] == ["sys/audit/file", "sys/audit/second"]
        assert first[0].kind is first[1].kind is Kind.AUDIT  # before anything that is to be recorded

    def test_logins_are_judged_by_exactly_the_issuers_keys_and_algorithm(self) -> None:
        (config,) = [each for each in bootstrap(shipped(), ISSUER, {}) if each.path == "auth/rr-cluster/config"]
        assert config.document == {
            "jwt_validation_pubkeys": list(ISSUER.public_keys),
            "bound_issuer": "https://issuer.test",
            "jwt_supported_algs": ["RS256"],
        }

    @given(PROJECTS)
    def test_no_place_is_wanted_twice_or_wanted_and_gone_and_no_key_is_ever_gone(self, projects: list[Project]) -> None:
        found = wanted(shipped(), projects)
        places = [*(each.path for each in found.settings), *found.gone, *own_paths()]
        assert len(places) == len(set(places))
        assert not any("/keys/" in path or path.startswith("rr-kv") for path in found.gone)
        assert all(path.endswith(tuple(each.id for each in projects)) for path in found.gone)

    @given(PROJECTS, st.randoms())
    def test_the_order_of_the_projects_does_not_matter(self, projects: list[Project], chance: Any) -> None:
        shuffled = list(projects)
        chance.shuffle(shuffled)
        assert wanted(shipped(), shuffled) == wanted(shipped(), projects)

    @given(PROJECTS)
    def test_nothing_of_one_project_names_another(self, projects: list[Project]) -> None:
        alone = {each.path: each for each in wanted(shipped(), []).settings}
        for project in projects:
            if project.phase == "open":
                for setting in wanted(shipped(), [project]).settings:
                    if setting.path not in alone:
                        assert PROJECT not in json.dumps([setting.path, setting.document])
        together = {each.path: each.document for each in wanted(shipped(), projects).settings}
        for project in projects:
            for setting in wanted(shipped(), [project]).settings:
                if setting.path not in alone:
                    assert together[setting.path] == setting.document

    def test_a_project_named_as_the_end_of_a_platform_policy_takes_nothing_with_it(self) -> None:
        gone = wanted(shipped(), [Project(id="vault", phase="closed"), Project(id="client", phase="closed")]).gone
        assert "sys/policies/acl/rr-configure-vault" not in gone
        assert "rr-pki/roles/portal-client" not in gone


class TestWhatIsNotAccepted:
    @pytest.mark.parametrize(
        "id_", ["", "a", "ab", "Lung", "lung_ct", "lung-", "-lung", "a/b", "lung ct", "a" * 21, "holdout", "é-é",
                "lung-ct\n", "${project}", "*", "+", "../x"]
    )  # fmt: skip
    def test_a_project_id_off_the_pattern_is_refused(self, id_: str) -> None:
        with pytest.raises(WrongSetUp, match="it is no project id of ours"):
            check_projects([Project(id=id_, phase="open")])

    def test_an_unknown_phase_and_a_project_given_twice_are_refused(self) -> None:
        with pytest.raises(WrongSetUp, match="phase 'opened' is not known"):
            wanted(shipped(), [Project(id="lung-ct", phase="opened")])
        with pytest.raises(WrongSetUp, match="it is listed twice"):
            wanted(shipped(), [OPEN_HEART, CLOSED_HEART])

    @pytest.mark.parametrize(
        ("definition", "why"),
        [
            (lambda: changed(policies={"hub": None}), "the file is absent"),
            (lambda: changed(policies={"portal-project": None}), "the file is absent"),
            (lambda: changed(policies={"session": None}), "the file is absent"),
            (lambda: changed(policies={"extra": 'path "x" {\n capabilities = ["read"]\n}'}), "no role names it"),
            (lambda: changed(roles={"configure-vault": None}), "role configure-vault; it is absent"),
            (
                lambda: changed(roles={"other": {**shipped().roles["database"], "policy": "hub"}}),
                "policy hub needs a project",
            ),
            (lambda: changed(roles={"hub-${project}": {"project_policy": "cut"}}), "project's own already"),
            (lambda: changed(policies={"portal-project": shipped().policies["database"]}), "names none"),
            (lambda: changed(roles={"cut-${project}": {"account": "cut"}}), "disagree about a project"),
            (lambda: changed(roles={"portal": {"account": "portal-${project}"}}), "disagree about a project"),
            (
                lambda: changed(certificates={"edge-${project}": {"names": ["${project}.x", "shared"]}}),
                "disagree about a project",
            ),
            (lambda: changed(certificates={"portal": {"names": ["${project}"]}}), "disagree about a project"),
            (lambda: changed(policies={"hub": 'path "x/${projekt}" {}'}), "placeholder other than"),
            (lambda: changed(policies={"hub": 'path "x/${project}" {\n capabilites = ["read"]\n}'}), "unknown key"),
        ],
    )
    def test_a_definition_that_does_not_hold_together_is_refused(self, definition: Any, why: str) -> None:
        for use in (lambda d: wanted(d, [OPEN_LUNG]), lambda d: bootstrap(d, ISSUER, {})):
            with pytest.raises(WrongSetUp, match=why):
                use(definition())

    def test_two_settings_in_one_place_are_refused(self) -> None:
        meeting: Definition = changed(roles={"hub-x": dict(shipped().roles["database"])})
        wanted(meeting, [OPEN_LUNG])
        with pytest.raises(WrongSetUp, match="auth/rr-cluster/role/hub-xyz; two settings have this place"):
            wanted(changed(roles={"hub-xyz": dict(shipped().roles["database"])}), [Project(id="xyz", phase="open")])
        with pytest.raises(WrongSetUp, match="two settings have this place"):
            wanted(changed(roles={"hub-xyz": dict(shipped().roles["database"])}), [Project(id="xyz", phase="closed")])


def _otherwise(value: Any) -> Any:
    """The same meaning, said as Vault may say it."""
    if isinstance(value, Mapping):
        return {key: _otherwise(each) for key, each in reversed(value.items())}
    if isinstance(value, list):
        return [_otherwise(each) for each in reversed(value)]
    if isinstance(value, str):
        return f"\n  {value}  \n" if " " in value else value
    return value


SETTINGS = wanted(shipped(), [OPEN_LUNG, OPEN_HEART]).settings


class TestDifferences:
    def test_absent_means_all_of_it(self) -> None:
        for setting in SETTINGS:
            assert differences(setting, None) == tuple(sorted(setting.reads))

    @given(st.sampled_from(SETTINGS))
    def test_the_same_said_otherwise_is_no_difference(self, setting: Setting) -> None:
        present = {**_otherwise(setting.reads), "more_of_vaults": "own"}
        assert differences(setting, present) == ()

    @given(st.data(), st.sampled_from(SETTINGS))
    def test_a_changed_field_is_named_and_no_other(self, data: st.DataObject, setting: Setting) -> None:
        field = data.draw(st.sampled_from(sorted(setting.reads)))
        other = data.draw(st.sampled_from(["other", 7, ["other"], {"a": "b"}, None]))
        present = {**copy.deepcopy(dict(setting.reads)), field: other}
        empty = setting.reads[field] in ("", [], {}, None)
        assert differences(setting, present) == (() if empty and other is None else (field,))

    @pytest.mark.parametrize(("said", "meant"), [("15m", 900), ("900s", 900), ("24h", 86_400), (900, 900)])
    def test_durations_are_compared_as_seconds(self, said: object, meant: int) -> None:
        setting = Setting(kind=Kind.ROLE, path="p", document={}, reads={"ttl": meant})
        assert differences(setting, {"ttl": said}) == ()
        assert differences(replace(setting, reads={"ttl": meant + 1}), {"ttl": said}) == ("ttl",)

    def test_false_is_not_absent(self) -> None:
        setting = Setting(kind=Kind.KEY, path="p", document={}, reads={"exportable": False})
        assert differences(setting, {}) == ("exportable",)
        assert differences(setting, {"exportable": False}) == ()

    def test_what_is_made_once_is_never_mended(self) -> None:
        key = next(each for each in SETTINGS if each.kind is Kind.KEY)
        with pytest.raises(WrongSetUp, match="exportable, type is not as made by us"):
            check_can_mend(key, ("exportable", "type"))
        check_can_mend(key, ())
        check_can_mend(next(each for each in SETTINGS if each.kind is Kind.ROLE), ("token_ttl",))

    def test_a_rotated_or_deletable_key_is_a_finding(self) -> None:
        pseudonym, envelope = (each for each in SETTINGS if each.path.endswith(("keys/lung-ct", "keys/lung-ct-data")))
        assert finding(pseudonym, None) == finding(pseudonym, {"latest_version": 1}) == ""
        assert "was rotated; version 1 still" in finding(pseudonym, {"latest_version": 2})
        assert finding(envelope, {"latest_version": 2}) == ""  # these are rotated yearly
        for key in (pseudonym, envelope):
            assert "may be deleted" in finding(key, {"latest_version": 1, "deletion_allowed": True})

    def test_the_fingerprint_follows_every_document(self) -> None:
        mark = fingerprint(SETTINGS)
        assert mark == fingerprint(list(SETTINGS))
        changed_ones = [replace(each, document={**each.document, "x": 1}) for each in SETTINGS]
        marks = {fingerprint([*SETTINGS[:n], changed_ones[n], *SETTINGS[n + 1 :]]) for n in range(len(SETTINGS))}
        assert len(marks | {mark}) == len(SETTINGS) + 1
