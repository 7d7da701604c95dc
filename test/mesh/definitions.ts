import { type KubeObject, RESOURCES, type ResourceType } from "../../src/api/index.ts";

/** Open CRDs (any spec and status, status subresource) of the kinds that the control plane watches. */
export function meshDefinitions(...more: readonly ResourceType[]): readonly KubeObject[] {
  const { virtualService, destinationRule, gateway, peerAuthentication } = RESOURCES;
  return [virtualService, destinationRule, gateway, peerAuthentication, ...more].map(definition);
}

function definition({ group, version, kind, plural }: ResourceType): KubeObject {
  const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const schema = { type: "object", properties: { spec: open, status: open } };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      scope: "Namespaced",
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: { openAPIV3Schema: schema },
        },
      ],
    },
  };
}
