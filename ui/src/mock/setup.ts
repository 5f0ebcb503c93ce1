// Browser features that Mantine needs and happy-dom lacks.

import { cleanup } from "@testing-library/react";
import { afterEach } from "vitest";

afterEach(cleanup);

class NoResizes {
  observe() {}
  unobserve() {}
  disconnect() {}
}
globalThis.ResizeObserver ??= NoResizes;

if (document.fonts === undefined) {
  Object.defineProperty(document, "fonts", { value: new EventTarget() });
}
