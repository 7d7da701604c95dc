/** Names a workload: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>` (SPIFFE ID). */
export function spiffeId(identity: {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}): string {
  const { trustDomain, namespace, serviceAccount } = identity;
  return `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
}
