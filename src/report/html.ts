/** HTML from tagged templates: every value is escaped, unless it is HTML made by the same tag. */

export class Html {
  constructor(readonly text: string) {}
}

type Value = string | number | Html | readonly Value[];

const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (character) => ENTITIES[character]);

function render(value: Value): string {
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(render).join("");
  return escapeHtml(String(value));
}

/** `html\`<p>${text}</p>\``: strings and numbers are escaped, for text and for quoted attributes; arrays are joined. */
export const html = (strings: TemplateStringsArray, ...values: Value[]) =>
  new Html(String.raw(strings, ...values.map(render)));

/** Nothing, for an optional piece. */
export const nothing = new Html("");

/** JSON for a <script type="application/json">, in which no "</script>" can end the element. */
export const jsonForScript = (value: unknown) => new Html(JSON.stringify(value).replaceAll("<", "\\u003c"));
