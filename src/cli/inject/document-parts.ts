/** A document's text with the separator line before it, and what of the text is content. */
export interface DocumentPart {
  /** `---` and what follows it on its line, with the line's end; "" for a document without one. */
  readonly separator: string;
  readonly text: string;
}

/**
 * Cuts a YAML stream into its documents; joined again, the parts are the stream, byte for byte. A line
 * that begins with `---` separates documents wherever it stands (YAML 1.2, 9.1.2).
 */
export function documentParts(stream: string): readonly DocumentPart[] {
  const parts: DocumentPart[] = [];
  let separator = "";
  let text = "";
  for (const line of stream.split(/(?<=\n)/)) {
    if (/^---(?:\s|$)/.test(line)) {
      if (separator !== "" || text !== "") parts.push({ separator, text });
      // What follows the marker on its line is content, unless it is a comment.
      const rest = line.slice(3).trim();
      const isBare = rest === "" || rest.startsWith("#");
      separator = isBare ? line : "---\n";
      text = isBare ? "" : line.slice(3).trimStart();
    } else text += line;
  }
  return [...parts, { separator, text }];
}
