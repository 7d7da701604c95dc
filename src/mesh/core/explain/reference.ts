/** `namespace/name` of a resource, as messages name it. */
export function referenceTo(resource: {
  readonly namespace: string;
  readonly name: string;
}): string {
  return `${resource.namespace}/${resource.name}`;
}
