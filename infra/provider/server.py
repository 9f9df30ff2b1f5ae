"""The gRPC face of the offline provider: translates requests, calls the operations, translates answers and errors.

It serves the protocol as the engine speaks it to pulumi-kubernetes, is stricter where that one loses information, writes
no file, and keeps nothing between requests but the connection to the cluster.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.rpc import status_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from infra.provider import apply, check, diff
from infra.provider.api import Api, read_kubeconfig
from infra.provider.errors import ApiAway, ApiRefusal, BadInput, CannotDo, NotReady, NotServed, ProviderError
from infra.provider.kinds import Kind, by_token
from infra.provider.wire import UNKNOWN, from_struct, has_unknown, plain, remark, to_struct

VERSION: Final = "4.32.0"  # of the protocol we honour: that of pulumi-kubernetes, whose classes the programs use
FORCE_VARIABLE: Final = "PULUMI_K8S_ENABLE_PATCH_FORCE"  # the official plugin's own name for it
_INPUTS: Final = "__inputs"
_LATER: Final = ("uid", "resourceVersion", "creationTimestamp", "generation")
Context: TypeAlias = grpc.ServicerContext
Entry = provider_pb2.PropertyDiff


def _refuse(context: Context, text: str) -> NoReturn:
    """Every plain error has this one code in the protocol; `abort` raises."""
    context.abort(grpc.StatusCode.UNKNOWN, text)
    raise RuntimeError(text)


def _stack(urn: str) -> str:
    """`urn:pulumi:<stack>::<project>::…`"""
    return urn.split("::", 1)[0].rpartition(":")[2]


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One cluster, as configured by the engine."""

    def __init__(self, engine_address: str = "", connect: Callable[[str], Api] = Api.of) -> None:
        self._connect = connect
        self._api: Api | None = None
        self._why_not = "the provider was not configured"
        self._namespace = "default"
        self._force = False
        self._cancelled = threading.Event()
        self._engine: engine_pb2_grpc.EngineStub | None = None
        if engine_address:
            self._listen_to(engine_address)

    def _listen_to(self, address: str) -> None:
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    # --- about the plugin ---------------------------------------------------------------------------------------------

    def GetPluginInfo(self, _request: empty_pb2.Empty, _context: Context) -> plugin_pb2.PluginInfo:
        """The version we stand in for."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def Attach(self, request: plugin_pb2.PluginAttach, _context: Context) -> empty_pb2.Empty:
        """A further engine talks to a provider that was started by hand."""
        self._listen_to(request.address)
        self._cancelled.clear()
        return empty_pb2.Empty()

    def Cancel(self, _request: empty_pb2.Empty, _context: Context) -> empty_pb2.Empty:
        """End every wait; what was made stays in the engine's state."""
        self._cancelled.set()
        return empty_pb2.Empty()

    # --- configuration ------------------------------------------------------------------------------------------------

    def CheckConfig(self, request: provider_pb2.CheckRequest, _context: Context) -> provider_pb2.CheckResponse:
        """Taken as it is; the kubeconfig is tried in Configure."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: provider_pb2.DiffRequest, _context: Context) -> provider_pb2.DiffResponse:
        """Another way to the same cluster replaces nothing; another cluster identifier replaces everything."""
        old = from_struct(request.old_inputs) or from_struct(request.olds)
        entries = [one for one in diff.changes(old, from_struct(request.news)) if one.where != "version"]
        changed = sorted({str(one.path[0]) for one in entries})
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=["clusterIdentifier"] if "clusterIdentifier" in changed and old.get("clusterIdentifier") else [],
        )

    def Configure(self, request: provider_pb2.ConfigureRequest, context: Context) -> provider_pb2.ConfigureResponse:
        """Connect. A cluster that does not answer is no error here: previews still work, real changes say why not."""
        args = plain(from_struct(request.args))
        given = args.get("kubeconfig") or request.variables.get("kubernetes:config:kubeconfig", "")
        asked = args.get("enablePatchForce") or os.environ.get(FORCE_VARIABLE, "")
        self._force = str(asked).lower() == "true"
        if not isinstance(given, str) or not given:
            context.abort(
                grpc.StatusCode.UNKNOWN, "the provider needs a kubeconfig path: nothing is guessed from the environment"
            )
        try:
            self._namespace = args.get("namespace") or read_kubeconfig(given).namespace
            self._api = self._connect(given)
        except ValueError as error:
            self._api, self._why_not = None, str(error)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    # --- one object ---------------------------------------------------------------------------------------------------

    def Check(self, request: provider_pb2.CheckRequest, context: Context) -> provider_pb2.CheckResponse:
        """Inputs made complete; what no cluster could take is refused."""
        kind = self._kind(request.urn, context)
        modes = {1: "enforce", 2: "disable"}
        naming = check.Naming(
            seed=request.randomSeed,
            proposed=request.autonaming.proposed_name,
            mode=modes.get(request.autonaming.mode, "propose"),  # type: ignore[arg-type]  # three words of ours
        )
        old, new = from_struct(request.olds), from_struct(request.news)
        try:
            inputs = check.complete(
                kind, old, new, request.name or request.urn.rpartition("::")[2], naming, self._namespace
            )
        except BadInput as bad:
            failure = provider_pb2.CheckFailure(property=bad.path, reason=bad.reason)
            return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        return provider_pb2.CheckResponse(inputs=to_struct(inputs))

    def Diff(self, request: provider_pb2.DiffRequest, context: Context) -> provider_pb2.DiffResponse:
        """Old inputs against new, path by path."""
        kind = self._kind(request.urn, context)
        state = from_struct(request.olds)
        old = from_struct(request.old_inputs) or state.get(_INPUTS, {})
        new = from_struct(request.news)

        def refused_in_place() -> list[str]:
            if self._api is None or has_unknown(new):
                return []
            try:
                return apply.immutable_paths(self._api, plain(new), self._call(kind, request.urn))
            except (ApiAway, ApiRefusal):
                return []

        planned = diff.plan(kind, old, new, request.ignoreChanges, refused_in_place)
        response = provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if planned.entries else provider_pb2.DiffResponse.DIFF_NONE,
            hasDetailedDiff=True,
            replaces=planned.replaces,
            deleteBeforeReplace=planned.delete_before_replace,
        )
        kinds = {
            "add": (Entry.ADD, Entry.ADD_REPLACE),
            "delete": (Entry.DELETE, Entry.DELETE_REPLACE),
            "update": (Entry.UPDATE, Entry.UPDATE_REPLACE),
        }
        for entry in planned.entries:
            response.detailedDiff[entry.where].CopyFrom(Entry(kind=kinds[entry.change][entry.replaces], inputDiff=True))
        return response

    def Create(self, request: provider_pb2.CreateRequest, context: Context) -> provider_pb2.CreateResponse:
        """A new object, or in preview what it would be."""
        inputs = from_struct(request.properties)
        kind = self._kind(request.urn, context)
        call = self._call(kind, request.urn, request.timeout)
        if request.preview:
            shown = self._preview(inputs, call, context, new=True)
            return provider_pb2.CreateResponse(properties=to_struct(shown))
        api = self._ready_api(context)
        live = self._do(context, lambda: apply.create(api, plain(inputs), call), inputs)
        return provider_pb2.CreateResponse(id=apply.name_of(live), properties=to_struct(_state(live, inputs)))

    def Update(self, request: provider_pb2.UpdateRequest, context: Context) -> provider_pb2.UpdateResponse:
        """The same object, changed in place, or in preview what it would become."""
        inputs = from_struct(request.news)
        kind = self._kind(request.urn, context)
        call = self._call(kind, request.urn, request.timeout)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=to_struct(self._preview(inputs, call, context, new=False)))
        old = from_struct(request.old_inputs) or from_struct(request.olds).get(_INPUTS, {})
        removed = [entry.path for entry in diff.changes(old, inputs) if entry.change == "delete"]
        api = self._ready_api(context)
        live = self._do(context, lambda: apply.update(api, plain(inputs), removed, call), inputs)
        return provider_pb2.UpdateResponse(properties=to_struct(_state(live, inputs)))

    def Read(self, request: provider_pb2.ReadRequest, context: Context) -> provider_pb2.ReadResponse:
        """The live object; an empty answer if there is none."""
        kind = self._kind(request.urn, context)
        state = from_struct(request.properties)
        inputs = from_struct(request.inputs) or state.get(_INPUTS, {})
        api = self._ready_api(context)
        try:
            found = apply.read(api, request.id, plain(inputs), self._call(kind, request.urn))
        except ProviderError as error:
            _refuse(context, str(error))
        if found is None:
            return provider_pb2.ReadResponse()
        live, seen = found
        seen = remark(seen, inputs)
        return provider_pb2.ReadResponse(
            id=request.id, properties=to_struct(_state(live, seen)), inputs=to_struct(seen)
        )

    def Delete(self, request: provider_pb2.DeleteRequest, context: Context) -> empty_pb2.Empty:
        """Exactly the object we made, until it is gone."""
        kind = self._kind(request.urn, context)
        api = self._ready_api(context)
        state = plain(from_struct(request.properties))
        try:
            apply.delete(api, request.id, state, self._call(kind, request.urn, request.timeout))
        except ProviderError as error:
            _refuse(context, str(error))
        return empty_pb2.Empty()

    # --- shared -------------------------------------------------------------------------------------------------------

    def _kind(self, urn: str, context: Context) -> Kind:
        token = urn.split("::")[2].rpartition("$")[2]
        try:
            return by_token(token)
        except NotServed as error:
            _refuse(context, str(error))

    def _call(self, kind: Kind, urn: str, timeout: float = 0.0) -> apply.Call:
        return apply.Call(
            kind=kind,
            manager=f"readingroom-{_stack(urn)}",
            timeout=timeout,
            force=self._force,
            tell=lambda text: self._tell(urn, text),
            stop=self._cancelled.is_set,
        )

    def _ready_api(self, context: Context) -> Api:
        if self._api is None:
            _refuse(context, f"the configured Kubernetes cluster is unreachable: {self._why_not}")
        return self._api

    def _preview(self, inputs: dict[str, Any], call: apply.Call, context: Context, *, new: bool) -> dict[str, Any]:
        """What would be there; the inputs where the cluster cannot say yet. What only `up` knows is unknown."""
        live: dict[str, Any] | None = None
        if self._api is not None and not has_unknown(inputs):
            try:
                live = apply.preview(self._api, plain(inputs), call, new=new)
            except CannotDo as error:
                _refuse(context, str(error))
            except ApiAway:
                live = None
        shown = _state(live or inputs, inputs)
        if new:
            shown["metadata"] = {**shown.get("metadata", {}), **dict.fromkeys(_LATER, UNKNOWN)}
            shown["status"] = UNKNOWN
        return shown

    def _do(self, context: Context, operation: Callable[[], dict[str, Any]], inputs: dict[str, Any]) -> dict[str, Any]:
        """Run a change; a made but unready object becomes the initialisation error, so the engine keeps it."""
        try:
            return operation()
        except NotReady as error:
            detail = provider_pb2.ErrorResourceInitFailed(
                id=apply.name_of(error.live),
                properties=to_struct(_state(error.live, inputs)),
                reasons=[error.reason],
                inputs=to_struct(inputs),
            )
            packed = any_pb2.Any()
            packed.Pack(detail)
            status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=error.reason, details=[packed])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            _refuse(context, error.reason)
        except ProviderError as error:
            _refuse(context, str(error))

    def _tell(self, urn: str, text: str) -> None:
        if self._engine is None:
            return
        message = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text, urn=urn, ephemeral=True)
        try:
            self._engine.Log(message, timeout=1)
        except grpc.RpcError:
            self._engine = None  # the engine has gone; so shall we


def _state(live: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """What the engine keeps: the live object without its field ledger, and the inputs it came from."""
    kept = {key: value for key, value in live.items() if key != _INPUTS}
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):
        kept["metadata"] = {key: value for key, value in metadata.items() if key != "managedFields"}
    return {**remark(kept, inputs), _INPUTS: inputs}
