"""Admission rules in CEL: one ValidatingAdmissionPolicy and its binding per file of `policies/admission`.

`failurePolicy: Fail`, action Deny. A rule with `parameters: true` reads the ConfigMap `admission` of the namespace it
judges in; where that is missing, the answer is no.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.admissionregistration.v1 import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from readingroom.contract import ADMISSION


@dataclass(frozen=True, kw_only=True)
class AdmissionArgs:
    """Name to the content of the rule's file: `sentence`, `parameters`, `spec`."""

    rules: Mapping[str, Mapping[str, Any]]


def policy_spec(rule: Mapping[str, Any]) -> Any:
    """The rule's `spec`, closed on failure."""
    parameters = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}} if rule["parameters"] else {}
    return {**rule["spec"], **parameters, "failurePolicy": "Fail"}


def binding_spec(name: str, rule: Mapping[str, Any]) -> Any:
    """Deny, and deny where the parameters are missing."""
    spec: dict[str, Any] = {"policyName": name, "validationActions": ["Deny"]}
    if rule["parameters"]:
        spec["paramRef"] = {"name": ADMISSION, "parameterNotFoundAction": "Deny"}
    return spec


class Admission(pulumi.ComponentResource):
    """All rules, in force before the first pod."""

    def __init__(self, args: AdmissionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("readingroom:admission:Admission", "admission", None, opts)
        for file, rule in args.rules.items():
            name = f"{file}.readingroom"
            policy = ValidatingAdmissionPolicy(
                name,
                metadata=ObjectMetaArgs(name=name),
                spec=policy_spec(rule),
                opts=pulumi.ResourceOptions(parent=self),
            )
            ValidatingAdmissionPolicyBinding(
                f"{name}/binding",
                metadata=ObjectMetaArgs(name=name),
                spec=binding_spec(name, rule),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
            )
        self.register_outputs({})
