// The texts of the window, from the catalogue that all parts of Postern share (`locales/`).

import { FluentBundle, FluentNumber, FluentResource } from "@fluent/bundle";
import type { Texts } from "../bindings/Texts";

/** The languages of the catalogue. The first one that the browser asks for is shown. `en-XA` is English with other letters, for tests of the layout. */
export const LANGUAGES = ["en", "ja", "en-XA"] as const;
export type Language = (typeof LANGUAGES)[number];

const files = import.meta.glob<string>("../../../locales/*/*.ftl", {
  query: "?raw",
  import: "default",
  eager: true,
});

const current = languageOf(navigator.languages);
const bundle = build(current);
document.documentElement.lang = current;

/** Returns the first of the languages that the catalogue has, English if it has none. */
export function languageOf(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const exact = LANGUAGES.find((known) => known === tag);
    const primary = LANGUAGES.find((known) => known === tag.split("-")[0]?.toLowerCase());
    const found = exact ?? primary;
    if (found !== undefined) return found;
  }
  return "en";
}

type Value = string | number;
type Arguments<K extends keyof Texts> = [Texts[K]] extends [never]
  ? [key: K]
  : [key: K, params: Record<Texts[K], Value>];

/** Renders a text in the language of the browser. */
export function t<K extends keyof Texts>(...[key, params]: Arguments<K>): string {
  return render(key, params ?? {}) ?? key;
}

/** Renders a message. Returns null if the catalogue lacks it. */
function render(code: string, params: Record<string, Value>): string | null {
  const pattern = bundle.getMessage(code)?.value;
  return pattern ? bundle.formatPattern(pattern, ungrouped(params), []) : null;
}

function build(language: Language): FluentBundle {
  // Values are not isolated by invisible marks, because addresses and commands are copied from texts.
  const built =
    language === "en-XA"
      ? new FluentBundle("en", { useIsolating: false, transform: pseudo })
      : new FluentBundle(language, { useIsolating: false });
  const folder = language === "ja" ? "/ja/" : "/en/";
  for (const [path, source] of Object.entries(files)) {
    if (path.includes(folder)) built.addResource(new FluentResource(source));
  }
  return built;
}

/** Ports and process numbers have no thousands separators. */
function ungrouped(params: Record<string, Value>): Record<string, string | FluentNumber> {
  const entries = Object.entries(params).map(([name, value]) => [
    name,
    typeof value === "number" ? new FluentNumber(value, { useGrouping: false }) : value,
  ]);
  return Object.fromEntries(entries);
}

/** Replaces the vowels and makes the text 40 % longer. */
function pseudo(text: string): string {
  return text.replace(/[aeiouAEIOU]/g, (vowel) => {
    const accented = `${vowel}\u0301`.normalize("NFC");
    return vowel === vowel.toLowerCase() ? accented + accented : accented;
  });
}

/** Formats a date in the current language. */
export function day(unixSeconds: number): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "long" }).format(unixSeconds * 1000);
}

/** Formats a time of day in the current language. */
export function time(unixSeconds: number): string {
  return new Intl.DateTimeFormat(locale(), { timeStyle: "short" }).format(unixSeconds * 1000);
}

/** Joins names as the current language does. */
export function list(items: readonly string[]): string {
  return items.join(t("list-separator"));
}

/** The system's region, such as `en-GB`, if it is of the current language. */
function locale(): string {
  return navigator.languages.find((tag) => tag.split("-")[0] === current) ?? current;
}
