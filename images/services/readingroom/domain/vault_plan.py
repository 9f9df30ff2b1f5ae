"""What Vault must be like for these projects, and what differs from that; pure, and checked before any write.

No value of a request ever becomes part of a path: a project's policy is rendered from a file after its id is checked
against the contract's pattern, so no templated policy is needed and none can be fooled by a claim.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from readingroom.contract import (
    ACCOUNT_CONFIGURE_VAULT,
    HOLDOUT,
    PROJECT_ID,
    RESERVED_PROJECTS,
    VAULT_AUTH,
    VAULT_PSEUDONYM,
)
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.vault_documents import (
    PROJECT,
    SESSION_POLICY,
    Definition,
    Issuer,
    Kind,
    Setting,
    audit_device,
    certificate,
    keys,
    login,
    mounts,
    policies,
    policy,
    render,
    role,
)
from readingroom.domain.vault_policy import check_policy

OWN_ROLE: Final = ACCOUNT_CONFIGURE_VAULT  # its policy and role are the keeper's to write
CLOSED: Final = "closed"
OPEN: Final = "open"


@dataclass(frozen=True, kw_only=True)
class Project:
    """One project as Vault's settings know it."""

    id: str
    phase: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """All settings in order, secrets to be made once, and what must not be there."""

    settings: Sequence[Setting]
    seeds: Mapping[str, Mapping[str, str]]
    gone: Sequence[str] = field(default_factory=tuple)


def wanted(definition: Definition, projects: Iterable[Project]) -> Wanted:
    """Everything that Vault must hold for these projects, or the reason why the files are not accepted.

    A project that is not open keeps its keys and loses its logins. Raises `WrongSetUp` before anything is planned.
    """
    projects = sorted(projects, key=lambda project: project.id)
    check_projects(projects)
    check_definition(definition)
    open_ids = [project.id for project in projects if project.phase == OPEN]
    shut_ids = [project.id for project in projects if project.phase != OPEN]
    settings = [
        *mounts(),
        *(key for project in projects for key in keys(project.id)),
        *policies(definition, open_ids),
        *(role(definition, name, open_ids, project) for name, project in _each(definition.roles, open_ids)),
        *(certificate(definition, name, project) for name, project in _each(definition.certificates, open_ids)),
        *_of_holdout(definition),
    ]
    settings = [setting for setting in settings if setting.path not in own_paths()]
    seeds = {render(path, project): dict(definition.seeds[path]) for path, project in _each(definition.seeds, open_ids)}
    gone = [setting.path for setting in _of_projects(definition, shut_ids)]
    check_apart([*(setting.path for setting in settings), *gone, *own_paths()])
    return Wanted(settings=settings, seeds=seeds, gone=gone)


def _of_holdout(definition: Definition) -> Sequence[Setting]:
    """The hold-out's own keys, and a login for its de-identifier such as each project's has."""
    if f"deid-{PROJECT}" not in definition.roles:
        return []
    return [*keys(HOLDOUT), policy(definition, "deid", HOLDOUT), role(definition, f"deid-{PROJECT}", (), HOLDOUT)]


def bootstrap(definition: Definition, issuer: Issuer, audit_files: Mapping[str, str]) -> Sequence[Setting]:
    """What the keeper writes with a root token:

    audit, the login method, and the policy and role of `configure-vault`.
    """
    check_definition(definition)
    names = sorted({definition.roles[OWN_ROLE]["policy"], SESSION_POLICY})
    return [
        *(audit_device(name, file) for name, file in sorted(audit_files.items())),
        *login(issuer),
        *(policy(definition, name) for name in names),
        role(definition, OWN_ROLE, (), ""),
    ]


def fingerprint(settings: Sequence[Setting]) -> str:
    """SHA-256 of the documents: whether what was written once is still what the files say."""
    text = json.dumps([[setting.path, setting.document] for setting in settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def own_paths() -> frozenset[str]:
    """What `configure-vault` is denied, so neither plans nor removes."""
    return frozenset({f"sys/policies/acl/rr-{OWN_ROLE}", f"auth/{VAULT_AUTH}/role/{OWN_ROLE}"})


def check_projects(projects: Sequence[Project]) -> None:
    """An id off the pattern, reserved, or given twice is refused, and so is a phase nobody knows."""
    seen: set[str] = set()
    for project in projects:
        if not PROJECT_ID.fullmatch(project.id) or project.id in RESERVED_PROJECTS:
            raise _wrong(
                repr(project.id), "it is no project id of ours", "use ^[a-z][a-z0-9-]{1,18}[a-z0-9]$, not reserved"
            )
        if project.phase not in {OPEN, CLOSED}:
            raise _wrong(project.id, f"phase {project.phase!r} is not known", "say open or closed")
        if project.id in seen:
            raise _wrong(project.id, "it is listed twice", "list each project once")
        seen.add(project.id)


def check_definition(definition: Definition) -> None:
    """Every policy that is named exists, every file is named, and each keeps the rules of `vault_policy`.

    Raises `WrongSetUp`.
    """
    if OWN_ROLE not in definition.roles:
        raise _wrong(f"role {OWN_ROLE}", "it is absent", "restore it in roles.yaml")
    named = {SESSION_POLICY, *(entry["policy"] for entry in definition.roles.values())}
    named |= {entry["project_policy"] for entry in definition.roles.values() if "project_policy" in entry}
    if absent := sorted(named - set(definition.policies)):
        raise _wrong(
            f"policy {absent[0]}", "roles.yaml names it and the file is absent", "add policies/vault/<name>.hcl"
        )
    if unused := sorted(set(definition.policies) - named):
        raise _wrong(f"policy {unused[0]}", "no role names it", "remove the file or name it in roles.yaml")
    for name, text in definition.policies.items():
        if "$" in text.replace(PROJECT, ""):
            raise _wrong(f"policy {name}", "it holds a placeholder other than ${project}", "mend the file")
        check_policy(name, text)
    _check_placeholders(definition)


def _check_placeholders(definition: Definition) -> None:
    """The placeholder stands where a project is known, and what is made for each project tells two of them apart."""
    for name, entry in definition.roles.items():
        if PROJECT in definition.policies[entry["policy"]] and PROJECT not in name:
            raise _wrong(f"role {name}", f"policy {entry['policy']} needs a project", "name the role …-${project}")
        if "project_policy" in entry and PROJECT in name:
            raise _wrong(f"role {name}", "it is a project's own already", "leave project_policy out")
        if "project_policy" in entry and PROJECT not in definition.policies[entry["project_policy"]]:
            raise _wrong(f"policy {entry['project_policy']}", "it is given for each project and names none", "mend it")
    made = [(f"role {name}", [entry["namespace"] + entry["account"]]) for name, entry in definition.roles.items()]
    made += [(f"certificate {name}", entry["names"]) for name, entry in definition.certificates.items()]
    for what, texts in made:
        if any((PROJECT in what) != (PROJECT in text) for text in texts):
            raise _wrong(what, "its name and its content disagree about a project", "say ${project} in both or neither")


def check_apart(paths: Iterable[str]) -> None:
    """No two things have one place: the name of a project could make two of them meet. Raises `WrongSetUp`."""
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise _wrong(path, "two settings have this place", "rename one of them in roles.yaml, or the project")
        seen.add(path)


def differences(setting: Setting, present: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The fields that do not read back as wanted; all of them when nothing is there."""
    if present is None:
        return tuple(sorted(setting.reads))
    return tuple(sorted(key for key, value in setting.reads.items() if _plain(present.get(key)) != _plain(value)))


def check_can_mend(setting: Setting, different: Sequence[str]) -> None:
    """What is made once is never mended: a key of another type or flag is a person's to look at.

    Raises `WrongSetUp`.
    """
    if setting.fixed and different:
        raise _wrong(
            setting.path, f"{', '.join(different)} is not as made by us", "find out who made it; nothing was changed"
        )


def finding(setting: Setting, present: Mapping[str, Any] | None) -> str:
    """What a person should know and nothing here mends: a pseudonym key that somebody rotated, a key that may be deleted.

    Empty where all is well.
    """
    if setting.kind is not Kind.KEY or not present:
        return ""
    if present.get("deletion_allowed"):
        return f"{setting.path} may be deleted; nobody but closing allows that"
    rotated = setting.path.startswith(f"{VAULT_PSEUDONYM}/keys/") and present.get("latest_version") != 1
    return f"{setting.path} was rotated; version 1 still gives the same pseudonyms" if rotated else ""


def _plain(value: Any) -> Any:
    """Vault's ways of saying one thing made one: list order, durations, white space, an absent list."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()} or None
    if isinstance(value, list | tuple):
        return sorted(str(_plain(each)) for each in value) or None
    if isinstance(value, str):
        return _seconds(value) if value[:-1].isdigit() and value[-1:] in "smh" else " ".join(value.split()) or None
    return value


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def _each(named: Iterable[str], open_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each name once, or once for every open project where it holds the placeholder."""
    for name in sorted(named):
        yield from ((name, project) for project in (open_ids if PROJECT in name else [""]))


def _of_projects(definition: Definition, ids: Sequence[str]) -> list[Setting]:
    """The settings that exist for each of these projects and for nothing else."""
    found = [
        policy(definition, name, each) for name, text in definition.policies.items() if PROJECT in text for each in ids
    ]
    found += [role(definition, name, (), project) for name, project in _each(definition.roles, ids) if project]
    found += [certificate(definition, name, each) for name, each in _each(definition.certificates, ids) if each]
    return found


def _wrong(which: str, why: str, next_step: str) -> WrongSetUp:
    return WrongSetUp(what="Vault's settings are not accepted", which=which, why=why, next_step=next_step)
