import { Alert, Badge, NavLink, Stack } from "@mantine/core";
import { Unplug } from "lucide-react";
import type { ReactNode } from "react";
import icon from "../../../icons/postern.svg";
import type { State } from "../bindings/State";
import { t } from "../strings/t";
import { AccountFoot } from "./AccountFoot";
import { PAGES, type PageId } from "./pages";
import classes from "./Shell.module.css";

interface Props {
  state: State;
  page: PageId;
  onPage: (page: PageId) => void;
  /** Whether the bridge is unreachable: the last state is shown and no action is possible. */
  lost: boolean;
  banners: ReactNode;
  children: ReactNode;
}

export function Shell({ state, page, onPage, lost, banners, children }: Props) {
  const waiting = state.servers.filter((server) => needsAttention(server.state.is)).length;
  return (
    <div className={classes.shell}>
      <aside className={classes.side}>
        <div className={classes.brand}>
          <img src={icon} width={28} height={28} alt="" />
          Postern
        </div>
        <nav aria-label={t("shell-pages")}>
          {PAGES.map(({ id, icon: Icon }) => (
            <NavLink
              key={id}
              component="button"
              className={classes.link ?? ""}
              active={page === id}
              aria-current={page === id ? "page" : undefined}
              label={t(`${id}-nav`)}
              leftSection={<Icon size={17} strokeWidth={1.9} aria-hidden />}
              rightSection={id === "servers" && waiting > 0 ? <Attention count={waiting} /> : null}
              onClick={() => onPage(id)}
            />
          ))}
        </nav>
        <div className={classes.foot}>
          <AccountFoot accounts={state.accounts} />
        </div>
      </aside>
      <main className={classes.main}>
        <Stack gap="lg" className={classes.column ?? ""}>
          {lost && (
            <Alert
              role="status"
              color="yellow"
              icon={<Unplug size={18} aria-hidden />}
              title={t("lost-title")}
            >
              {t("lost-again")}
            </Alert>
          )}
          <Stack gap="lg" inert={lost} style={lost ? { opacity: 0.55 } : {}}>
            {banners}
            {children}
          </Stack>
        </Stack>
      </main>
    </div>
  );
}

function Attention({ count }: { count: number }) {
  return (
    <Badge size="sm" circle color="yellow" variant="filled" aria-label={t("shell-attention", { count })}>
      {count}
    </Badge>
  );
}

function needsAttention(is: State["servers"][number]["state"]["is"]): boolean {
  return is === "sign-in-needed" || is === "failed";
}
