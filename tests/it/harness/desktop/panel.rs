//! The panel with its tray: xfce4-panel. Its systray plugin is both the watcher at which icons
//! register and the host that shows them.

use std::fs;

use tokio::process::Child;
use zbus::Proxy;

use super::{super::until, session::Session};

/// The bus name at which icons register.
pub(super) const WATCHER: &str = "org.kde.StatusNotifierWatcher";

/// The title of the tray's windows: one for its icons, and one per menu.
pub(super) const WINDOWS: &str = "wrapper-2.0";

/// The panel's height in pixels. The tray is at its right end.
pub(super) const HEIGHT: u32 = 32;

/// The panel. It stops when it is dropped.
pub(crate) struct Panel(#[expect(dead_code, reason = "it is held, not used")] Child);

impl Panel {
    /// Starts the panel and returns once its tray accepts icons.
    pub(crate) async fn start(session: &Session) -> Self {
        let home: &std::path::Path = session.variable("HOME").as_ref();
        let folder = home.join(".config/xfce4/xfconf/xfce-perchannel-xml");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("xfce4-panel.xml"), configuration()).expect("a configuration");
        let panel = session.spawn(&mut session.command("xfce4-panel"));
        session.until_owned(WATCHER).await;
        let watcher = watcher(session).await;
        until("the tray", async || {
            let there = watcher.get_property("IsStatusNotifierHostRegistered").await;
            there.is_ok_and(|there: bool| there).then_some(())
        })
        .await;
        Self(panel)
    }
}

/// Returns the watcher on the bus.
pub(super) async fn watcher(session: &Session) -> Proxy<'static> {
    session
        .object(WATCHER, "/StatusNotifierWatcher", WATCHER)
        .await
}

/// Returns the configuration: one bar at the top with the window list and the tray.
fn configuration() -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
  <property name="configver" type="int" value="2"/>
  <property name="panels" type="array">
    <value type="int" value="1"/>
    <property name="dark-mode" type="bool" value="false"/>
    <property name="panel-1" type="empty">
      <property name="position" type="string" value="p=6;x=0;y=0"/>
      <property name="length" type="uint" value="100"/>
      <property name="position-locked" type="bool" value="true"/>
      <property name="size" type="uint" value="{HEIGHT}"/>
      <property name="icon-size" type="uint" value="22"/>
      <property name="plugin-ids" type="array">
        <value type="int" value="1"/>
        <value type="int" value="2"/>
        <value type="int" value="3"/>
      </property>
    </property>
  </property>
  <property name="plugins" type="empty">
    <property name="plugin-1" type="string" value="tasklist"/>
    <property name="plugin-2" type="string" value="separator">
      <property name="expand" type="bool" value="true"/>
      <property name="style" type="uint" value="0"/>
    </property>
    <property name="plugin-3" type="string" value="systray"/>
  </property>
</channel>
"#
    )
}
