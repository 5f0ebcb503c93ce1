// The window with a mock bridge, for component tests.

import { MantineProvider } from "@mantine/core";
import { render } from "@testing-library/react";
import { App } from "../app/App";
import { createClient } from "../bridge/client";
import type { Transport } from "../bridge/transport";
import { ClientProvider } from "../bridge/useBridge";
import { theme } from "../theme";

export function renderApp(transport: Transport, page = "servers") {
  location.hash = `#/${page}`;
  const client = createClient(transport);
  return render(
    <MantineProvider theme={theme} env="test">
      <ClientProvider value={client}>
        <App client={client} />
      </ClientProvider>
    </MantineProvider>,
  );
}
