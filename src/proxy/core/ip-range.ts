/** An IP address as a number with its length in bits; undefined for text that is none. */
function parse(address: string): { readonly value: bigint; readonly bits: 32 | 128 } | undefined {
  const text = address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
  // As inet_pton: a leading zero could mean octal.
  if (/^(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}$/.test(text)) {
    const bytes = text.split(".").map(Number);
    if (bytes.some((byte) => byte > 255)) return undefined;
    return { value: bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n), bits: 32 };
  }
  return parseIpv6(text);
}

function parseIpv6(text: string): { readonly value: bigint; readonly bits: 128 } | undefined {
  const halves = text.split("::");
  if (halves.length > 2 || !/^[0-9a-fA-F:]+$/.test(text)) return undefined;
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  const [head = [], tail = []] = groups;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const all = [...head, ...Array.from({ length: missing }, () => "0"), ...tail];
  if (all.some((group) => !/^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  return {
    value: all.reduce((sum, group) => sum * 65_536n + BigInt(Number.parseInt(group, 16)), 0n),
    bits: 128,
  };
}

/** An IP address in its one usual form (RFC 5952), or undefined when it is none. */
export function canonicalIp(address: string): string | undefined {
  const parsed = parse(address);
  if (parsed === undefined) return undefined;
  if (parsed.bits === 32) return address;
  const digits = parsed.value.toString(16).padStart(32, "0");
  const groups = (digits.match(/.{4}/g) ?? []).map((group) => group.replace(/^0{1,3}/, ""));
  const zeros = [...` ${groups.join(" ")} `.matchAll(/(?<= )0(?: 0)+(?= )/g)];
  const longest = zeros.reduce((best, [run]) => (run.length > best.length ? run : best), "");
  const text = groups.join(" ");
  if (longest === "") return text.replaceAll(" ", ":");
  const at = ` ${text} `.indexOf(` ${longest} `);
  const [before, after] = [text.slice(0, at), text.slice(at + longest.length)];
  return `${before.trim().replaceAll(" ", ":")}::${after.trim().replaceAll(" ", ":")}`;
}

/**
 * A test for addresses in a CIDR range; an IPv4 address mapped into IPv6 counts as IPv4. Undefined
 * when the prefix is no address or the length does not fit it.
 */
export function ipRange(
  prefix: string,
  prefixLength: number,
): ((address: string) => boolean) | undefined {
  const range = parse(prefix);
  if (range === undefined || prefixLength < 0 || prefixLength > range.bits) return undefined;
  const shift = BigInt(range.bits - prefixLength);
  const wanted = range.value >> shift;
  return (address) => {
    const found = parse(address);
    return found !== undefined && found.bits === range.bits && found.value >> shift === wanted;
  };
}
