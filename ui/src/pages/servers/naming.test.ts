import { expect, test } from "vitest";
import { checkName, checkUrl, suggestName } from "./naming";

test.each([
  ["https://mcp.example.com/snippets/mcp", "snippets"],
  ["https://wiki.example.com/mcp", "wiki"],
  ["https://mcp.example.com/mcp", "example"],
  ["http://127.0.0.1:8080/Team Notes/mcp", "team-20notes"],
  ["http://127.0.0.1:8080/mcp", ""],
  ["not yet", ""],
])("%s is called %j", (address, name) => {
  expect(suggestName(address)).toBe(name);
});

test("checkUrl accepts only https and loopback", () => {
  for (const fine of ["https://x.example/mcp", "http://localhost:1/mcp", "http://[::1]:1/", " https://x "]) {
    expect(checkUrl(fine), fine).toBeNull();
  }
  for (const wrong of ["x.example/mcp", "http://x.example/", "http://localhost.evil/", "javascript:1"]) {
    expect(checkUrl(wrong), wrong).not.toBeNull();
  }
  expect(checkName("team-1")).toBeNull();
  expect(checkName("Team")).not.toBeNull();
});
