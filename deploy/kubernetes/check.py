"""Reads rendered manifests from standard input and holds them to what no schema knows: that names, ports, paths and
selectors fit together, and that the pods are what the Pod Security Standards call restricted. Called by deploy/check."""

import sys
import tomllib

import yaml

found = {}
for resource in yaml.safe_load_all(sys.stdin):
    found.setdefault(resource["kind"], []).append(resource)


def only(kind):
    assert len(found[kind]) == 1, f"{len(found[kind])} of {kind}"
    return found[kind][0]["spec"]


deployment = only("Deployment")
labels, pod = deployment["template"]["metadata"]["labels"], deployment["template"]["spec"]
workers, first = pod["containers"], pod["initContainers"]
assert deployment["replicas"] == 2
assert deployment["selector"]["matchLabels"].items() <= labels.items()

# Restricted.
assert pod["securityContext"]["runAsNonRoot"] is True
assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
for name in ("hostNetwork", "hostPID", "hostIPC"):
    assert name not in pod, name
for volume in pod["volumes"]:
    assert volume.keys() - {"name"} <= {"configMap", "secret", "emptyDir", "projected"}, volume
for container in workers + first:
    context = container["securityContext"]
    assert context == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                       "capabilities": {"drop": ["ALL"]}}, container["name"]
    assert container["resources"]["limits"]["memory"], container["name"]
    # Secrets are files.
    for variable in container.get("env", []):
        assert "valueFrom" not in variable and variable["name"].endswith("_FILE"), variable
assert pod["automountServiceAccountToken"] is False
account = found["ServiceAccount"][0]
assert account["automountServiceAccountToken"] is False and account["metadata"]["name"] == pod["serviceAccountName"]

# Whatever selects, selects these pods.
selectors = [only("Service")["selector"], only("PodDisruptionBudget")["selector"]["matchLabels"],
             only("NetworkPolicy")["podSelector"]["matchLabels"]]
selectors += [spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"]]
for selector in selectors:
    assert selector and selector.items() <= labels.items(), selector

# The settings that are mounted, and the paths in them.
volumes = {volume["name"]: volume for volume in pod["volumes"]}
maps = {resource["metadata"]["name"]: resource["data"] for resource in found["ConfigMap"]}


def files(container):
    """Every file that is mounted in a container."""
    for mount in container["volumeMounts"]:
        assert mount["readOnly"] is True, mount
        volume = volumes[mount["name"]]
        inside = [item["path"] for item in volume["secret"]["items"]] if "secret" in volume \
            else maps[volume["configMap"]["name"]]
        yield from (f"{mount['mountPath']}/{name}" for name in inside)


for container in workers + first:
    there = set(files(container))
    arguments = container["args"]
    assert arguments[arguments.index("--config") + 1] in there, there
    settings = tomllib.loads(next(iter(maps.values()))["production.toml"])
    named = {settings["api"]["key_file"], settings["database"]["url_file"]}
    named |= {variable["value"] for variable in container.get("env", [])}
    assert named <= there, named - there
    assert any("owner-url" in name for name in there) == (container in first), "the owner's URL is for the migration alone"

# One port.
port = int(settings["http"]["listen"].rsplit(":", 1)[1])
worker = workers[0]
assert [(named["name"], named["containerPort"]) for named in worker["ports"]] == [("metrics", port)]
for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
    assert worker[probe]["httpGet"] == {"path": path, "port": "metrics"}, probe
assert only("Service")["ports"] == [{"name": "metrics", "port": port, "targetPort": "metrics"}]
assert only("NetworkPolicy")["ingress"][0]["ports"] == [{"port": "metrics"}]

if "ServiceMonitor" in found:
    monitor = only("ServiceMonitor")
    assert monitor["selector"]["matchLabels"].items() <= found["Service"][0]["metadata"]["labels"].items()
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == ["metrics"]
