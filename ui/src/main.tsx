import "@mantine/core/styles.css";
import "./window.css";
import { MantineProvider } from "@mantine/core";
import { isTauri } from "@tauri-apps/api/core";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { Crash } from "./app/Crash";
import { createClient } from "./bridge/client";
import { httpTransport, takeToken } from "./bridge/http";
import { tauriTransport } from "./bridge/tauri";
import type { Transport } from "./bridge/transport";
import { ClientProvider } from "./bridge/useBridge";
import { theme } from "./theme";

async function chooseTransport(): Promise<Transport> {
  if (import.meta.env.MODE === "mock") return (await import("./mock/transport")).mockTransport();
  return isTauri() ? tauriTransport() : httpTransport(takeToken());
}

const client = createClient(await chooseTransport());
const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <MantineProvider theme={theme} defaultColorScheme="auto">
        <Crash>
          <ClientProvider value={client}>
            <App client={client} />
          </ClientProvider>
        </Crash>
      </MantineProvider>
    </StrictMode>,
  );
}
