import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// `--mode mock` builds the window over canned state (src/mock); any other mode leaves that code out.
export default defineConfig({
  base: "./",
  plugins: [react()],
  // WebKitGTK 2.44, Safari 17.5, Chromium 123: what knows `light-dark()`.
  build: { target: ["chrome123", "safari17.5"], assetsInlineLimit: 0, chunkSizeWarningLimit: 800 },
  // The catalogue of texts lies beside this folder.
  server: { host: "127.0.0.1", port: 1420, strictPort: true, fs: { allow: [".", "../locales"] } },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
    setupFiles: ["src/mock/setup.ts"],
    restoreMocks: true,
    testTimeout: 30_000,
  },
});
