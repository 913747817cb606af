"""Programs in pods speak to the API with the token, the authority and the address that they find."""

import json

from wherry.kubectl import Kubectl

ASK = """
import ssl, urllib.error, urllib.request
here = "/var/run/secrets/kubernetes.io/serviceaccount"
namespace, token = (open(f"{here}/{name}").read() for name in ("namespace", "token"))
request = urllib.request.Request(
    f"https://10.96.0.1/api/v1/namespaces/{namespace}/pods", headers={"Authorization": f"Bearer {token}"})
try:
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=f"{here}/ca.crt")) as answer:
        print(answer.status)
except urllib.error.HTTPError as e:
    print(e.code)
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "asker"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "asker", "image": "wherry/component:dev", "imagePullPolicy": "Never",
                "command": ["python3", "-c", "import signal; signal.pause()"],
            }
        ],
    },
}  # fmt: skip


def test_a_pod_may_what_its_service_account_may(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps(POD))
    kubectl("wait", "--for=condition=Ready", "pod/asker", "--timeout=60s")

    def ask() -> str:
        return kubectl("exec", "asker", "--", "python3", "-c", ASK).strip()

    assert ask() == "403"
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    namespace = kubectl("get", "pod", "asker", "-o", "jsonpath={.metadata.namespace}")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:default")
    assert ask() == "200"
    assert kubectl("auth", "can-i", "list", "pods", f"--as=system:serviceaccount:{namespace}:default").strip() == "yes"
