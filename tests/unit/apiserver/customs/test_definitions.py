"""Names, conditions, and what a definition compiles to."""

from typing import Any

import pytest

from api import custom, meta
from apiserver import rules
from apiserver.catalogue import Catalogue
from apiserver.customs import jsonpaths, publishing
from apiserver.customs.establishing import CRDS, named
from apiserver.customs.printing import Columns
from apiserver.patching.schemas import UNTRACKED, tracked
from apiserver.rest.discovery import Discovery, priority
from tests.unit.apiserver.customs.definitions import NOW, crd, definition, established, kind, version

Tree = dict[str, Any]
TEXT = {"type": "string"}


def told(found: Any) -> dict[str, tuple[str, str, str]]:
    return {c.type: (c.status, c.reason, c.message) for c in found.status.conditions}


def test_names_that_nobody_else_has_are_accepted() -> None:
    found = established()
    assert told(found) == {
        "NamesAccepted": ("True", "NoConflicts", "no conflicts found"),
        "Established": ("True", "InitialNamesAccepted", "the initial names have been accepted"),
    }
    assert found.status.acceptedNames == found.spec.names
    assert named(found, [found], NOW) is None


def test_names_that_another_has_are_not() -> None:
    first, second = established(), crd(kind="Gadget", uid="2")
    second.spec.names.kind = second.spec.names.listKind = ""
    second.spec.names.kind, second.spec.names.shortNames = "Widget", ["widget"]
    found = named(second, [first, second], NOW)
    assert told(found)["NamesAccepted"] == ("False", "KindConflict", '"Widget" is already in use')
    assert told(found)["Established"] == ("False", "NotAccepted", "not all names are accepted")
    assert (found.status.acceptedNames.plural, found.status.acceptedNames.kind) == ("gadgets", None)


def test_formats_that_say_nothing_are_told_of_once() -> None:
    def using(*named: tuple[str, str]) -> Any:
        fields = {f"f{i}": {"type": type_, "format": name} for i, (type_, name) in enumerate(named)}
        return crd(version(spec={"type": "object", "properties": fields}))

    known = [("string", "date-time"), ("integer", "int64"), ("number", "double"), ("string", "k8s-long-name")]
    old = using(*known, ("string", "int64"), ("object", "uri"))
    assert rules.warnings(CRDS, old, None) == ['unrecognized format "int64"', 'unrecognized format "uri"']
    new = using(("string", "other"), ("integer", "uri"), ("boolean", "other"))
    rules.prepare_update(CRDS, new, old)
    assert rules.warnings(CRDS, new, old) == ['unrecognized format "other"']


def test_all_short_names_that_are_taken_are_told() -> None:
    first, second = established(), crd(kind="Gadget", uid="2")
    second.spec.names.shortNames = ["widget", "free", "widgets", "widget"]
    said = '["widget" is already in use, "widgets" is already in use]'
    assert told(named(second, [first, second], NOW))["NamesAccepted"] == ("False", "ShortNamesConflict", said)


def conversion(bundle: str, **client: Any) -> Tree:
    client = client or {"service": {"namespace": "ns", "name": "s"}}
    webhook = {"clientConfig": {"caBundle": bundle, **client}, "conversionReviewVersions": ["v1"]}
    return {"strategy": "Webhook", "webhook": webhook}


NO_BUNDLE = "Tm8gUEVNLg=="


def test_a_definition_is_established_when_its_webhook_can_be_trusted() -> None:
    found = crd(conversion=conversion(NO_BUNDLE))
    assert rules.validate(CRDS, found) == []
    assert told(named(found, [found], NOW))["Established"] == (
        "False", "InvalidCABundle", "The conversion webhook CABundle is invalid",
    )  # fmt: skip
    assert told(established(conversion=conversion("")))["Established"][0] == "True"


def test_what_is_established_keeps_an_authority_that_can_be_read() -> None:
    old, new = established(), crd(conversion=conversion(NO_BUNDLE))
    waiting = named(new, [new], NOW)
    faults = [str(f) for f in rules.validate_update(CRDS, new, old)]
    assert faults == [
        f'spec.conversion.webhookClientConfig.caBundle: Invalid value: "{NO_BUNDLE}": unable to load root certificates: '
        "unable to parse bytes as PEM block"
    ]
    assert rules.validate_update(CRDS, new, waiting) == []


def test_where_a_conversion_webhook_is_has_the_form_that_others_have() -> None:
    faults = rules.validate(CRDS, crd(conversion=conversion("", url="https://u@a/b?c")))
    assert [str(f) for f in faults] == [
        'spec.conversion.webhookClientConfig.url: Invalid value: "u": user information is not permitted in the URL',
        'spec.conversion.webhookClientConfig.url: Invalid value: "c": query parameters are not permitted in the URL',
    ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("spec.n", "must be a simple json path starting with ."),
        (".status.n", "should be a json path under .spec"),
        (".spec.n[0]", ""),
    ],
)
def test_the_path_to_a_number_of_replicas(path: str, said: str) -> None:
    scale = {"specReplicasPath": path, "statusReplicasPath": ".status.n"}
    faults = rules.validate(CRDS, crd(version(subresources={"scale": scale})))
    where = "spec.versions[0].subresources.scale.specReplicasPath"
    assert [str(f) for f in faults] == ([f'{where}: Invalid value: "{path}": {said}'] if said else [])


def test_what_is_established_stays_so_when_a_new_name_is_taken() -> None:
    first, second = established(), established(kind="Gadget", uid="2")
    second.spec.names.shortNames = ["widget"]
    found = named(second, [first, second], NOW)
    assert told(found)["NamesAccepted"][:2] == ("False", "ShortNamesConflict")
    assert told(found)["Established"][0] == "True"
    assert found.status.acceptedNames.shortNames == []


def test_a_valid_definition_has_no_faults() -> None:
    assert rules.validate(CRDS, crd()) == []


def test_the_storage_version_is_noted() -> None:
    old = established()
    new = meta.clone(old)
    new.spec.versions[0].storage = False
    new.spec.versions.append(crd(version("v2")).spec.versions[0])
    rules.prepare_update(CRDS, new, old)
    assert (new.status.storedVersions, old.status.storedVersions) == (["v1", "v2"], ["v1"])
    assert new.metadata.generation == 2


def test_a_definition_becomes_kinds() -> None:
    found = definition(version("v1", storage=False), version("v2"), version("v3", storage=False, served=False))
    assert [k.version for k in found.served()] == ["v1", "v2"]
    assert found.stored.version == "v2"
    assert found.kinds["v1"].custom
    assert found.kinds["v1"].type is custom.CustomObject


def test_a_catalogue_finds_built_in_and_custom_kinds() -> None:
    catalogue, widget = Catalogue(), kind()
    before = catalogue.version
    catalogue.replace([widget])
    assert catalogue.version > before
    assert (
        catalogue.by_resource("example.com", "v1", "widgets") is widget is catalogue.by_name("example.com/v1", "Widget")
    )
    assert catalogue.serves("example.com", "v1")
    assert catalogue.by_resource("", "v1", "pods") is not None
    assert "example.com" in Discovery(catalogue).groups()
    catalogue.replace([])
    assert not catalogue.serves("example.com", "v1")


def test_built_in_group_versions_are_nobody_elses() -> None:
    from dataclasses import replace

    catalogue = Catalogue()
    catalogue.replace([replace(kind(), group="networking.k8s.io")])
    assert catalogue.customs() == ()


def test_versions_are_sorted_by_their_stability() -> None:
    given = ["foo10", "v11alpha2", "v1", "v10", "v3beta1", "v2", "foo1", "v12alpha1", "v11beta2", "v10beta3"]
    assert sorted(given, key=priority) == [
        "v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10",
    ]  # fmt: skip


def test_ownership_follows_the_schema() -> None:
    items = {"type": "object", "properties": {"k": TEXT}}
    spec = {
        "type": "object",
        "properties": {
            "m": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": items,
            },
            "a": {"type": "array", "items": TEXT},
            "o": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"x": TEXT}},
        },
    }
    node = kind(spec).shape.node.fields["spec"][1]
    assert (node.fields["m"][1].keys, node.fields["a"][1].atomic, node.fields["o"][1].atomic) == (("k",), True, True)


def test_the_status_belongs_to_its_subresource_if_there_is_one() -> None:
    for more, hidden in (({}, False), ({"subresources": {"status": {}}}, True)):
        tree = {"type": "object", "properties": {"spec": TEXT, "status": TEXT}}
        each = version(**more)
        each["schema"]["openAPIV3Schema"] = tree
        node = definition(each).kinds["v1"].shape.node
        assert (tracked(node).child("status") is UNTRACKED) is hidden
        assert tracked(node, "status").child("spec") is UNTRACKED
        assert tracked(node, "status").child("status") is not UNTRACKED


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.a", [1]), ("{.spec.a}", [1]), (".spec.none", []), (".spec.l[1].n", ["y"]), (".spec.l[-1].n", ["y"]),
        (".spec.l[*].n", ["x", "y"]), ('.spec.l[?(@.n=="y")].v', [2]), (".spec.l[?(@.v>1)].n", ["y"]),
        (r".metadata.labels.a\.b/c", ["d"]), (".metadata.labels['a.b/c']", ["d"]), (".spec.l[0:1].n", ["x"]),
    ],
)  # fmt: skip
def test_json_paths(path: str, found: list[Any]) -> None:
    tree = {"metadata": {"labels": {"a.b/c": "d"}}, "spec": {"a": 1, "l": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]}}
    assert jsonpaths.find(jsonpaths.parse(path), tree) == found


def test_json_paths_that_are_none() -> None:
    with pytest.raises(jsonpaths.Malformed):
        jsonpaths.parse("spec")
    assert jsonpaths.names(".spec.a[0]") is None


def test_cells_have_the_type_of_their_column() -> None:
    definitions = [
        {"name": n, "type": t, "jsonPath": p}
        for n, t, p in (
            ("S", "string", ".s"), ("I", "integer", ".i"), ("B", "boolean", ".b"), ("M", "string", ".m"),
            ("D", "date", ".d"), ("X", "date", ".s"), ("N", "number", ".none"),
        )
    ]  # fmt: skip
    given = crd(version(additionalPrinterColumns=definitions)).spec.versions[0].additionalPrinterColumns
    tree = {"metadata": {"name": "n"}, "s": "x", "i": 3, "b": True, "m": {"a": [1]}, "d": "1970-01-01T00:00:00Z"}
    assert Columns(given).cells(tree, 60.0) == ["n", "x", 3, True, '{"a":[1]}', "60s", "<invalid>", None]


def test_version_2_of_openapi_says_only_what_clients_understand() -> None:
    spec = {
        "type": "object",
        "required": ["n", "a"],
        "properties": {
            "n": {**TEXT, "nullable": True}, "a": {**TEXT, "default": "x"},
            "i": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "u": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"z": TEXT}},
        },
    }  # fmt: skip
    shape = kind(spec).shape
    assert shape.published("#/definitions/")["properties"]["spec"] == {
        "type": "object",
        "required": ["a"],
        "properties": {
            "n": {}, "a": TEXT, "i": {"x-kubernetes-int-or-string": True},
            "u": {"x-kubernetes-preserve-unknown-fields": True},
        },
    }  # fmt: skip
    assert shape.published(publishing.V3)["properties"]["spec"] == spec


def test_a_rule_that_may_cost_too_much_is_refused() -> None:
    spec = {
        "type": "object",
        "properties": {"x": {"type": "array", "items": {"type": "array", "items": TEXT}}},
        "x-kubernetes-validations": [{"rule": "self.x.all(l, l.all(s, s.contains('a')))"}],
    }
    found = [str(f) for f in rules.validate(CRDS, crd(version(spec=spec)))]
    assert found[0].startswith(
        "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost "
        "exceeds budget by factor of more than 100x (try simplifying the rule"
    )


def test_defaults_must_fit_their_schema() -> None:
    spec = {
        "type": "object",
        "properties": {"a": {"type": "integer", "default": "x"}, "b": {"type": "object", "default": {"c": 1}}},
    }
    found = [str(f) for f in rules.validate(CRDS, crd(version(spec=spec)))]
    where = "spec.validation.openAPIV3Schema.properties[spec].properties"
    assert found[0].startswith(f'{where}[a].default: Invalid value: "string"')
    assert found[1] == f'{where}[b].default: Invalid value: {{"c":1}}: must not have unknown fields'
