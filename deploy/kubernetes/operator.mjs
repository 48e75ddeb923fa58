// Checks the Prometheus operator's resources in a rendered file against the schemas of its CRDs. deploy/check copies it to
// where its imports are installed, and calls it.
import fs from "node:fs";
import * as kinds from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { loadAll } from "js-yaml";

const resources = loadAll(fs.readFileSync(process.argv[2], "utf8"));
const ours = resources.filter(({ apiVersion }) => apiVersion.startsWith("monitoring."));
if (ours.length < 2) throw new Error("a ServiceMonitor and a PrometheusRule are expected");
for (const resource of ours) new kinds[resource.kind](resource).validate();
