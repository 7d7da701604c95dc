import { z } from "zod";

const LABEL = "[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?";
const FIRST_LABEL = new RegExp(`^(?:\\*|(?:\\*-?)?${LABEL})$`);
const FURTHER_LABEL = new RegExp(`^${LABEL}$`);
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.|$)){4}$/;

/** A DNS label, as names of subsets are; Istio takes capitals too. */
export const dnsLabel = z
  .string()
  .regex(FURTHER_LABEL, "must be a DNS label: letters, digits and -, at most 63");

/** The name of a subset where one may be given; empty = none. */
export const subsetName = z
  .string()
  .refine((name) => name === "" || FURTHER_LABEL.test(name), "must be a DNS label");

/** A host's name whose first label may be `*`, or start with it. */
export function isWildcardDomain(host: string): boolean {
  const [first = "", ...further] = host.split(".");
  if (host.length > 255 || !FIRST_LABEL.test(first)) return false;
  // A name may end in a dot: it is then one from the root.
  if (further.at(-1) === "") further.pop();
  return further.every((label) => FURTHER_LABEL.test(label)) && !/^\d+$/.test(further.at(-1) ?? "");
}

/** An IP address, of either version. */
export function isIpAddress(host: string): boolean {
  return IPV4.test(host) || (host.includes(":") && /^[0-9a-fA-F:.]+$/.test(host));
}

/** The host of a service that traffic goes to. */
export const serviceHost = z
  .string()
  .min(1)
  .refine((host) => host === "" || isWildcardDomain(host), "must be a host name");

/** Whether every name that the one stands for may be meant by the other too, or the reverse. */
export function overlaps(a: string, b: string): boolean {
  const [one, other] = [a.toLowerCase(), b.toLowerCase()];
  if (one === other) return true;
  const isWithin = (name: string, pattern: string): boolean =>
    pattern.startsWith("*") && name.endsWith(pattern.slice(1)) && name.length >= pattern.length;
  return isWithin(one, other) || isWithin(other, one);
}
