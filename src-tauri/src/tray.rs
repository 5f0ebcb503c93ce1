//! The tray: shows [`menu`] and [`icon_state`] if the desktop has a tray.

use std::time::Duration;

use anyhow::Result;
use tauri::AppHandle;
use tauri::image::Image;
use tauri::menu::{Menu, MenuEvent, MenuItem, PredefinedMenuItem, Submenu};
use tauri::tray::{MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent};

use crate::bridge_status::BridgeStatus;
use crate::event::{Action, Event};
use crate::menu::{MenuEntry, menu};
use crate::tray_icon::{IconState, icon_state};

/// The interval of attempts to find a tray: panels start late and restart.
pub(crate) const RETRY: Duration = Duration::from_secs(2);

/// The icon with its menu. There may be no tray yet.
pub(crate) struct Tray {
    app: AppHandle,
    icon: Option<TrayIcon>,
    shown: Shown,
}

#[derive(PartialEq)]
struct Shown {
    menu: Vec<MenuEntry>,
    icon: IconState,
    tooltip: String,
}

impl Shown {
    fn of(status: &BridgeStatus) -> Self {
        let (icon, tooltip) = icon_state(status);
        Self {
            menu: menu(status),
            icon,
            tooltip,
        }
    }
}

impl Tray {
    /// Creates the tray. [`Tray::ensure`] shows it.
    pub(crate) fn new(app: AppHandle) -> Self {
        let shown = Shown::of(&BridgeStatus::Starting);
        Self {
            app,
            icon: None,
            shown,
        }
    }

    /// Returns true if the icon is in a tray.
    pub(crate) fn is_up(&self) -> bool {
        self.icon.is_some()
    }

    /// Shows the icon if it is not shown yet and the desktop has a tray.
    pub(crate) fn ensure(&mut self) {
        if self.icon.is_some() {
            return;
        }
        match self.build() {
            Ok(icon) => self.icon = Some(icon),
            Err(error) => tracing::debug!("no tray: {error:#}"),
        }
    }

    /// Shows a status.
    pub(crate) fn show(&mut self, status: &BridgeStatus) {
        let next = Shown::of(status);
        if next == self.shown {
            return;
        }
        let same_menu = next.menu == self.shown.menu;
        self.shown = next;
        if let Some(icon) = &self.icon
            && let Err(error) = self.update(icon, same_menu)
        {
            tracing::warn!("cannot update the tray icon: {error:#}");
        }
    }

    fn build(&self) -> Result<TrayIcon> {
        let icon = TrayIconBuilder::with_id("postern")
            .icon(image(self.shown.icon)?)
            .tooltip(&self.shown.tooltip)
            .title("Postern")
            .menu(&build_menu(&self.app, &self.shown.menu)?)
            .show_menu_on_left_click(cfg!(target_os = "macos"));
        Ok(icon.build(&self.app)?)
    }

    fn update(&self, icon: &TrayIcon, same_menu: bool) -> Result<()> {
        icon.set_icon(Some(image(self.shown.icon)?))?;
        icon.set_tooltip(Some(&self.shown.tooltip))?;
        if !same_menu {
            icon.set_menu(Some(build_menu(&self.app, &self.shown.menu)?))?;
        }
        Ok(())
    }
}

/// Returns the event of a click in the menu.
pub(crate) fn on_menu(event: &MenuEvent) -> Option<Event> {
    Action::from_id(event.id().as_ref()).map(Event::Clicked)
}

/// Returns the event of a click on the icon. On macOS the click opens the menu.
pub(crate) fn on_icon(event: &TrayIconEvent) -> Option<Event> {
    let is_left_click = matches!(
        event,
        TrayIconEvent::Click {
            button: MouseButton::Left,
            button_state: MouseButtonState::Up,
            ..
        }
    );
    (is_left_click && !cfg!(target_os = "macos")).then_some(Event::WindowWanted)
}

fn image(icon: IconState) -> Result<Image<'static>> {
    let png: &[u8] = match icon {
        IconState::SignedOut => include_bytes!("../../icons/tray-signed-out.png"),
        IconState::Connected => include_bytes!("../../icons/tray-connected.png"),
        IconState::Attention => include_bytes!("../../icons/tray-attention.png"),
    };
    Ok(Image::from_bytes(png)?)
}

fn build_menu(app: &AppHandle, entries: &[MenuEntry]) -> Result<Menu<tauri::Wry>> {
    let menu = Menu::new(app)?;
    for entry in entries {
        match entry {
            MenuEntry::Submenu(label, inner) => menu.append(&submenu(app, label, inner)?)?,
            MenuEntry::Separator => menu.append(&PredefinedMenuItem::separator(app)?)?,
            MenuEntry::Label(label) => menu.append(&label_item(app, label)?)?,
            MenuEntry::Click(label, action) => menu.append(&click_item(app, label, action)?)?,
        }
    }
    Ok(menu)
}

fn submenu(app: &AppHandle, label: &str, entries: &[MenuEntry]) -> Result<Submenu<tauri::Wry>> {
    let menu = Submenu::new(app, label, true)?;
    for entry in entries {
        match entry {
            MenuEntry::Submenu(label, inner) => menu.append(&submenu(app, label, inner)?)?,
            MenuEntry::Separator => menu.append(&PredefinedMenuItem::separator(app)?)?,
            MenuEntry::Label(label) => menu.append(&label_item(app, label)?)?,
            MenuEntry::Click(label, action) => menu.append(&click_item(app, label, action)?)?,
        }
    }
    Ok(menu)
}

fn label_item(app: &AppHandle, label: &str) -> Result<MenuItem<tauri::Wry>> {
    Ok(MenuItem::new(app, label, false, None::<&str>)?)
}

fn click_item(app: &AppHandle, label: &str, action: &Action) -> Result<MenuItem<tauri::Wry>> {
    Ok(MenuItem::with_id(
        app,
        action.to_id(),
        label,
        true,
        None::<&str>,
    )?)
}
