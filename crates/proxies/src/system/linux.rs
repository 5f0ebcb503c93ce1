//! Linux: asks the desktop on the session bus, which also works in a sandbox
//! (`org.freedesktop.portal.ProxyResolver`, version 1).

use std::time::Duration;

use zbus::blocking::connection::Builder;

/// The timeout of the desktop, which may have to start a service and download a script.
const TIMEOUT: Duration = Duration::from_secs(30);

/// See [`Lookup`](super::Lookup).
pub(super) const LOOKUP: Option<super::Lookup> = Some(lookup);

fn lookup(url: &str) -> Option<Vec<String>> {
    let entries = call_portal(url);
    if let Err(error) = &entries {
        tracing::debug!(%error, "no desktop answered the proxy lookup");
    }
    entries.ok()
}

fn call_portal(url: &str) -> zbus::Result<Vec<String>> {
    let bus = Builder::session()?.method_timeout(TIMEOUT).build()?;
    let reply = bus.call_method(
        Some("org.freedesktop.portal.Desktop"),
        "/org/freedesktop/portal/desktop",
        Some("org.freedesktop.portal.ProxyResolver"),
        "Lookup",
        &url,
    )?;
    reply.body().deserialize()
}
