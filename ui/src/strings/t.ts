// Only English so far. Another language needs a file beside `en.ts` and a choice here.

import i18next from "i18next";
import { en } from "./en";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof en };
  }
}

void i18next.init({
  lng: "en",
  initAsync: false,
  resources: { en: { translation: en } },
  interpolation: { escapeValue: false },
});

export const t = i18next.t;

// Formats a date in the system's locale.
export function day(unixSeconds: number): string {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "long" }).format(unixSeconds * 1000);
}

export function time(unixSeconds: number): string {
  return new Intl.DateTimeFormat(undefined, { timeStyle: "short" }).format(unixSeconds * 1000);
}
