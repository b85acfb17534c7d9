"""Lints the Helm chart with Helm's own engine, renders it with several sets of values, and validates what comes out
against Kubernetes' schemas. Values that the schema must refuse are tried, too.
"""

import json
import sys
import tomllib

import kubernetes_validate
import yaml
from helm_python import Chart, HelmError, lint

CHART = "deploy/helm/halcyon"
EVERYTHING = {
    "vault": {"url": "https://openbao.openbao.svc:8200"},
    "migrate": {"admin": {"email": "admin@example.org", "existingSecret": "halcyon-admin"}},
    "gateway": {"autoscaling": {"enabled": True}},
    "worker": {"autoscaling": {"enabled": True}},
    "ingress": {"enabled": True, "className": "nginx", "annotations": {"a": "b"}},
    "image": {"pullSecrets": [{"name": "registry"}]},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "priorityClassName": "high",
    "podAnnotations": {"a": "b"},
    "monitoring": {key: {"enabled": True} for key in ("serviceMonitor", "prometheusRule", "dashboards")},
}
LEAST = {
    "networkPolicy": {"enabled": False},
    "migrate": {"enabled": False},
    **{
        service: {"podDisruptionBudget": None}
        for service in ("gateway", "registry", "worker", "testRunner", "ontology", "audit")
    },
}
GOOD = {"defaults": {}, "everything": EVERYTHING, "least": LEAST}
REFUSED = {
    "a number as text": {"worker": {"replicas": "two"}},
    "an unknown key": {"workers": {}},
    "two copies": {"settings": {"bus": {"replicas": 2}}},
    "a password among settings": {"settings": {"database": {"url": "postgres://a:b@c/d"}}},
    "Vault in the clear": {"vault": {"url": "http://vault:8200"}},
    "no secret": {"secrets": {"kek": {"existingSecret": ""}}},
}
KUBERNETES = ["1.30", "1.34", kubernetes_validate.latest_version()]
# Kinds that are not Kubernetes' own; their schemas come with what defines them.
FOREIGN = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}


def pods(document):
    spec = document.get("spec", {}).get("template", {}).get("spec")
    return [spec] if spec else []


def hardened(pod, name):
    """What every pod must have; the schemas do not ask for it."""
    assert pod["automountServiceAccountToken"] is False, name
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"], name
    for container in pod["containers"] + pod.get("initContainers", []):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"], name
        assert security["capabilities"]["drop"] == ["ALL"], name
        assert container["resources"]["limits"]["memory"], name


def check(chart, title, values):
    documents = []
    for file, text in chart.render(values=values, name="halcyon", namespace="halcyon", is_install=True).items():
        if not file.endswith("NOTES.txt"):
            documents += [one for one in yaml.safe_load_all(text) if one]
    for document in documents:
        name = f"{title}: {document['kind']} {document['metadata']['name']}"
        for version in KUBERNETES:
            if document["kind"] not in FOREIGN:
                kubernetes_validate.validate(document, version, strict=True)
        for pod in pods(document):
            hardened(pod, name)
        if document["kind"] == "ConfigMap" and "halcyon.toml" in document["data"]:
            tomllib.loads(document["data"]["halcyon.toml"])
    kinds = {}
    for document in documents:
        kinds[document["kind"]] = kinds.get(document["kind"], 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def main():
    for title, values in GOOD.items():
        report = lint(CHART, values, strict=True, kube_version="v1.34.0", namespace="halcyon")
        bad = [message for message in report["messages"] if message["severity"] > 1]
        if bad or report["errors"]:
            sys.exit(f"helm lint, {title}: {json.dumps(bad or report['errors'], indent=1)}")
        with Chart.load(CHART) as chart:
            print(f"chart, {title}: {check(chart, title, values)}")
    with Chart.load(CHART) as chart:
        for title, values in REFUSED.items():
            try:
                chart.render(values=values, name="halcyon", namespace="halcyon")
            except HelmError:
                continue
            sys.exit(f"the chart's schema lets through: {title}")
    print(f"chart: {len(REFUSED)} sets of bad values refused; Kubernetes {', '.join(KUBERNETES)}")


main()
