//! Assembles the app and runs it.

use anyhow::Result;
use tauri::{AppHandle, RunEvent, WindowEvent};
use tokio::sync::watch;

use crate::arguments::{Arguments, HIDDEN};
use crate::bridge_status::{Bridge, BridgeStatus};
use crate::controller::Controller;
use crate::event::{Event, Events};
use crate::{commands, desktop, tray, window};

/// Runs the app until it is quit.
///
/// # Errors
/// If the desktop provides no window system, or an argument is invalid.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let bridge = Bridge {
        home: arguments.home()?,
        program: desktop::command_line(),
    };
    let (events, incoming) = Events::channel();
    let (status, seen) = watch::channel(BridgeStatus::Starting);
    let app = tauri::Builder::default()
        .plugin(single_instance(&bridge, events.clone()))
        .plugin(tauri_plugin_notification::init())
        .plugin(
            tauri_plugin_autostart::Builder::new()
                .args(arguments.at_login())
                .build(),
        )
        // Registered on the app, because the icon can be clicked before Tauri registers its own
        // listeners.
        .on_menu_event(sending(&events, tray::on_menu))
        .on_tray_icon_event(sending(&events, tray::on_icon))
        .manage(bridge.clone())
        .manage(seen)
        .invoke_handler(tauri::generate_handler![commands::call, commands::state])
        .build(tauri::generate_context!())?;
    if !arguments.hidden {
        events.send(Event::WindowWanted);
    }
    let handle = app.handle().clone();
    let for_controller = events.clone();
    tauri::async_runtime::spawn(async move {
        Controller::new(handle, bridge, for_controller, status)
            .run(incoming)
            .await;
    });
    app.run(move |_, event| on_run_event(&event, &events));
    Ok(())
}

/// Returns a listener that translates events of the desktop and sends those with a meaning.
fn sending<E: 'static>(
    events: &Events,
    meaning: fn(&E) -> Option<Event>,
) -> impl Fn(&AppHandle, E) + Send + Sync + 'static {
    let events = events.clone();
    move |_, event| {
        if let Some(event) = meaning(&event) {
            events.send(event);
        }
    }
}

fn on_run_event(event: &RunEvent, events: &Events) {
    match event {
        // The last window is closed, but the tray stays.
        RunEvent::ExitRequested {
            code: None, api, ..
        } => api.prevent_exit(),
        RunEvent::WindowEvent { label, event, .. } if label == window::MAIN => match event {
            WindowEvent::CloseRequested { .. } => events.send(Event::WindowClosing),
            WindowEvent::Destroyed => events.send(Event::WindowClosed),
            _ => {}
        },
        #[cfg(target_os = "macos")]
        RunEvent::Reopen { .. } => events.send(Event::WindowWanted),
        _ => {}
    }
}

/// A second start shows the window of the first. The app of another home is independent.
fn single_instance(bridge: &Bridge, events: Events) -> tauri::plugin::TauriPlugin<tauri::Wry> {
    let shown = move |_: &AppHandle, arguments: Vec<String>, _: String| {
        if !arguments.iter().any(|argument| argument == HIDDEN) {
            events.send(Event::WindowWanted);
        }
    };
    let builder = tauri_plugin_single_instance::Builder::new().callback(shown);
    match bridge.home.root() {
        Some(root) => builder.dbus_id(bus_name(&root.display().to_string())),
        None => builder,
    }
    .build()
}

/// Returns a name on the session bus for the app of one home, with letters and digits only.
fn bus_name(home: &str) -> String {
    use std::fmt::Write as _;
    let mut name = "dev.postern.app.home".to_owned();
    for byte in home.bytes().rev().take(80) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
