import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../src/api/index.ts";
import { podTargets } from "../../src/cli/pod-targets.ts";

const POD: KubeObject = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name: "reviews-1",
    namespace: "default",
    uid: "u",
    labels: { "app.kubernetes.io/name": "reviews" },
    annotations: { "prometheus.io/scrape": "true" },
  },
  spec: {
    nodeName: "n",
    initContainers: [
      { name: "istio-proxy", image: "p", ports: [{ name: "prom", containerPort: 15090 }] },
    ],
    containers: [
      { name: "app", image: "i", ports: [{ containerPort: 9080 }, { containerPort: 9081 }] },
      { name: "quiet", image: "q" },
    ],
  },
  status: {
    podIP: "10.0.0.1",
    hostIP: "10.0.0.9",
    phase: "Running",
    conditions: [{ type: "Ready", status: "True" }],
  },
};

test("a pod is a target for each port of each container, and one for a container without ports", () => {
  const groups = podTargets(POD);
  assert.deepEqual(
    groups.map(({ targets, labels }) => [
      ...targets,
      labels["__meta_kubernetes_pod_container_name"],
      labels["__meta_kubernetes_pod_container_init"],
      labels["__meta_kubernetes_pod_container_port_name"],
    ]),
    [
      ["10.0.0.1:9080", "app", "false", ""],
      ["10.0.0.1:9081", "app", "false", ""],
      ["10.0.0.1", "quiet", "false", undefined],
      ["10.0.0.1:15090", "istio-proxy", "true", "prom"],
    ],
  );
});

test("a target has the meta labels of Prometheus' own discovery", () => {
  assert.deepEqual(podTargets(POD)[0]?.labels, {
    __meta_kubernetes_namespace: "default",
    __meta_kubernetes_pod_name: "reviews-1",
    __meta_kubernetes_pod_uid: "u",
    __meta_kubernetes_pod_ip: "10.0.0.1",
    __meta_kubernetes_pod_host_ip: "10.0.0.9",
    __meta_kubernetes_pod_node_name: "n",
    __meta_kubernetes_pod_phase: "Running",
    __meta_kubernetes_pod_ready: "true",
    __meta_kubernetes_pod_label_app_kubernetes_io_name: "reviews",
    __meta_kubernetes_pod_labelpresent_app_kubernetes_io_name: "true",
    __meta_kubernetes_pod_annotation_prometheus_io_scrape: "true",
    __meta_kubernetes_pod_annotationpresent_prometheus_io_scrape: "true",
    __meta_kubernetes_pod_container_name: "app",
    __meta_kubernetes_pod_container_image: "i",
    __meta_kubernetes_pod_container_init: "false",
    __meta_kubernetes_pod_container_port_name: "",
    __meta_kubernetes_pod_container_port_number: "9080",
    __meta_kubernetes_pod_container_port_protocol: "TCP",
  });
});

test("a pod without an address is no target", () => {
  assert.deepEqual(podTargets({ ...POD, status: { phase: "Pending" } }), []);
});
