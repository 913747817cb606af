import pytest

from api.errors import MethodNotAllowed, NotFound
from apiserver.catalogue import Catalogue
from apiserver.rest import paths
from apiserver.rest.paths import PageNotFound
from tests.unit.apiserver.customs import definitions

BUILT_IN = Catalogue()


def found(path):
    target = paths.find(path, BUILT_IN)
    return target.kind.name, target.namespace, target.name, target.subresource


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", ("Pod", "", "", "")),
        ("/api/v1/namespaces/a/pods", ("Pod", "a", "", "")),
        ("/api/v1/namespaces/a/pods/b", ("Pod", "a", "b", "")),
        ("/api/v1/namespaces/a/pods/b/log", ("Pod", "a", "b", "log")),
        ("/api/v1/namespaces", ("Namespace", "", "", "")),
        ("/api/v1/namespaces/a", ("Namespace", "", "a", "")),
        ("/api/v1/namespaces/a/status", ("Namespace", "", "a", "status")),
        ("/api/v1/namespaces/a/finalize", ("Namespace", "", "a", "finalize")),
        ("/api/v1/nodes/n/status", ("Node", "", "n", "status")),
        ("/apis/apps/v1/deployments", ("Deployment", "", "", "")),
        ("/apis/apps/v1/namespaces/a/deployments/b/scale", ("Deployment", "a", "b", "scale")),
        ("/apis/autoscaling/v1/horizontalpodautoscalers", ("HorizontalPodAutoscaler", "", "", "")),
        ("/api/v1/namespaces/a/pods/", ("Pod", "a", "", "")),
    ],
)
def test_a_path_names_its_resource(path, expected):
    assert found(path) == expected


def test_the_old_watch_prefix_is_known():
    assert paths.find("/api/v1/watch/namespaces/a/pods/b", BUILT_IN)[1:] == ("a", "b", "", True)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/foos",
        "/api/v1/pods/b",
        "/api/v1/namespaces/a/nodes",
        "/api/v1/namespaces/a/pods/b/scale",
        "/api/v1/namespaces/a/pods/b/log/more",
        "/apis/apps/v1/pods",
        "/api/v1/namespaces//pods",
        "/api/v1/watch/namespaces/a/pods/b/log",
    ],
)
def test_an_unknown_resource_is_not_found(path):
    with pytest.raises(NotFound, match="the server could not find the requested resource"):
        paths.find(path, BUILT_IN)


@pytest.mark.parametrize("path", ["/api/v2/pods", "/apis/apps", "/apis/nothing.io/v1/things"])
def test_an_unknown_group_is_no_page(path):
    with pytest.raises(PageNotFound):
        paths.find(path, BUILT_IN)


@pytest.mark.parametrize(
    ("method", "path", "verb"),
    [
        ("GET", "/api/v1/pods", "list"),
        ("GET", "/api/v1/namespaces/a/pods/b", "get"),
        ("POST", "/api/v1/namespaces/a/pods", "create"),
        ("PUT", "/api/v1/namespaces/a/pods/b", "update"),
        ("PATCH", "/api/v1/namespaces/a/pods/b/status", "patch"),
        ("DELETE", "/api/v1/namespaces/a/pods/b", "delete"),
        ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection"),
        ("POST", "/api/v1/namespaces/a/pods/b/binding", "create"),
        ("GET", "/api/v1/namespaces/a/pods/b/exec", "connect"),
        ("GET", "/api/v1/watch/pods", "watch"),
        ("PUT", "/api/v1/namespaces/a/finalize", "update"),
    ],
)
def test_a_method_is_a_verb(method, path, verb):
    assert paths.verb(method, paths.find(path, BUILT_IN), False) == verb


def test_a_list_may_be_a_watch():
    assert paths.verb("GET", paths.find("/api/v1/pods", BUILT_IN), True) == "watch"
    assert paths.verb("GET", paths.find("/api/v1/namespaces/a/pods/b", BUILT_IN), True) == "get"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/pods"),
        ("POST", "/api/v1/namespaces/a/pods/b"),
        ("PUT", "/api/v1/namespaces/a/pods"),
        ("DELETE", "/api/v1/namespaces"),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("POST", "/api/v1/namespaces/a/pods/b/log"),
        ("DELETE", "/api/v1/pods"),
    ],
)
def test_a_verb_that_a_resource_lacks_is_not_allowed(method, path):
    with pytest.raises(MethodNotAllowed, match="the server does not allow this method on the requested resource"):
        paths.verb(method, paths.find(path, BUILT_IN), False)


def test_paths_of_custom_objects_that_lead_nowhere_are_no_page():
    catalogue = Catalogue()
    catalogue.replace([definitions.kind()])
    with pytest.raises(PageNotFound):
        paths.find("/apis/example.com/v1/nothing", catalogue)
    with pytest.raises(PageNotFound):
        paths.find("/apis/example.com/v1/widgets/one", catalogue)
    everywhere = paths.find("/apis/example.com/v1/widgets", catalogue)
    assert paths.verb("GET", everywhere, False) == "list"
    for method in ("POST", "DELETE"):
        with pytest.raises(PageNotFound):
            paths.verb(method, everywhere, False)
