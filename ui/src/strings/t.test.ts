import { afterEach, expect, test, vi } from "vitest";
import { languageOf } from "./t";

afterEach(() => vi.resetModules());

test.each([
  [["ja-JP", "en"], "ja"],
  [["de", "ja"], "ja"],
  [["en-GB", "ja"], "en"],
  [["en-XA"], "en-XA"],
  [["C", "de-DE"], "en"],
  [[], "en"],
])("languages %j select %s", (wanted, expected) => {
  expect(languageOf(wanted)).toBe(expected);
});

async function shownIn(tag: string) {
  vi.spyOn(navigator, "languages", "get").mockReturnValue([tag]);
  vi.resetModules();
  return await import("./t");
}

test("Japanese is shown with its own plural and separator", async () => {
  const { list, t } = await shownIn("ja-JP");
  expect(document.documentElement.lang).toBe("ja");
  expect(t("action-sign-in")).toBe("サインイン");
  expect(t("shell-attention", { count: 1200 })).toBe("1200 個のサーバーで対応が必要です");
  expect(list(["a", "b"])).toBe("a、b");
});

test("English counts in the singular and the plural", async () => {
  const { list, t } = await shownIn("en");
  expect(t("shell-attention", { count: 1 })).toBe("1 server needs attention");
  expect(t("shell-attention", { count: 2 })).toBe("2 servers need attention");
  expect(list(["a", "b"])).toBe("a, b");
});

test("pseudo-locale changes texts and keeps values", async () => {
  const { t } = await shownIn("en-XA");
  expect(t("action-copy", { what: "https://a.example" })).toBe("Cóópy https://a.example");
});
