//! The X server, the session bus and the window manager, with the environment that leads to them.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use futures_util::StreamExt;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use zbus::{Connection, Proxy, fdo::DBusProxy};

use super::super::{bridge::Bridge, within};

/// The services that the bus starts on demand. It starts no others, such as a keychain.
const SERVICES: [&str; 3] = [
    "org.gnome.keyring.SystemPrompter.service",
    "org.gtk.GLib.PACRunner.service",
    "org.xfce.Xfconf.service",
];

/// A user's graphical session.
pub(crate) struct Session {
    /// A connection to the bus, as any program of the session has.
    pub(crate) bus: Connection,
    folder: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    // Dropped in this order, so that each stops before those it depends on.
    _window_manager: Child,
    _bus: Child,
    _screen: Child,
}

impl Session {
    /// Starts the session. The user's home folder is that of `bridge`.
    pub(crate) async fn start(folder: &Path, bridge: &Bridge) -> Self {
        let folder = folder.join("session");
        let runtime = folder.join("run");
        fs::create_dir_all(&runtime).expect("a folder");
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("private");
        let mut environment = variables(bridge, &runtime);

        let (screen, number) = first_line(
            command("Xvfb", &folder, &environment)
                .args(["-displayfd", "1", "-screen", "0", "1280x800x24"])
                .args(["-nolisten", "tcp", "-noreset"]),
        )
        .await;
        environment.push(("DISPLAY", format!(":{number}").into()));

        let configuration = folder.join("bus.conf");
        fs::write(&configuration, bus_conf(&folder)).expect("a configuration");
        let (daemon, address) = first_line(
            command("dbus-daemon", &folder, &environment)
                .args(["--nofork", "--nopidfile", "--print-address=1"])
                .arg("--config-file")
                .arg(&configuration),
        )
        .await;
        environment.push(("DBUS_SESSION_BUS_ADDRESS", address.clone().into()));
        let bus = zbus::connection::Builder::address(address.as_str())
            .expect("an address")
            .build();
        Self {
            bus: within("the session bus", bus).await.expect("a bus"),
            _window_manager: spawn(&mut command("openbox", &folder, &environment)),
            _bus: daemon,
            _screen: screen,
            folder,
            environment,
        }
    }

    /// Returns a command for a program of this session.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        command(program.as_ref(), &self.folder, &self.environment)
    }

    /// Starts a program of this session.
    pub(crate) fn spawn(&self, command: &mut Command) -> Child {
        spawn(command)
    }

    /// Returns a variable of its environment.
    pub(crate) fn variable(&self, name: &str) -> &OsString {
        let found = self.environment.iter().find(|(one, _)| *one == name);
        &found.expect("a variable of the session").1
    }

    /// Returns an object on the bus. Its properties are not cached, because icons and keychains
    /// change them without a signal.
    pub(crate) async fn object(
        &self,
        owner: &str,
        path: impl Into<String>,
        interface: &'static str,
    ) -> Proxy<'static> {
        object(&self.bus, owner, path.into(), interface).await
    }

    /// Waits until a program owns a name on the bus.
    pub(crate) async fn until_owned(&self, name: &'static str) {
        let dbus = DBusProxy::new(&self.bus).await.expect("the bus");
        let mut owners = dbus
            .receive_name_owner_changed_with_args(&[(0, name)])
            .await
            .expect("the bus");
        let name_on_bus = name.try_into().expect("a name");
        if dbus.name_has_owner(name_on_bus).await.expect("an answer") {
            return;
        }
        within(name, async {
            while let Some(change) = owners.next().await {
                if change.args().expect("arguments").new_owner.is_some() {
                    return;
                }
            }
            panic!("the bus ended before {name} came");
        })
        .await;
    }
}

/// See [`Session::object`].
pub(super) async fn object(
    bus: &Connection,
    owner: &str,
    path: String,
    interface: &'static str,
) -> Proxy<'static> {
    zbus::proxy::Builder::new(bus)
        .destination(owner.to_owned())
        .and_then(|proxy| proxy.path(path))
        .and_then(|proxy| proxy.interface(interface))
        .expect("names")
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap_or_else(|error| panic!("{interface} of {owner}: {error}"))
}

/// Returns the variables that a login sets, except display and bus, which do not exist yet.
fn variables(bridge: &Bridge, runtime: &Path) -> Vec<(&'static str, OsString)> {
    vec![
        ("HOME", bridge.root().into()),
        ("LOGNAME", "someone".into()),
        ("USER", "someone".into()),
        ("SHELL", "/bin/sh".into()),
        ("PATH", bridge.browser.search_path()),
        ("LANG", "C.UTF-8".into()),
        ("XDG_RUNTIME_DIR", runtime.into()),
        ("XDG_CURRENT_DESKTOP", "XFCE".into()),
        ("XDG_SESSION_TYPE", "x11".into()),
        ("GDK_BACKEND", "x11".into()),
        ("NO_AT_BRIDGE", "1".into()),
        // It only costs memory without a graphics card.
        ("WEBKIT_DISABLE_DMABUF_RENDERER", "1".into()),
    ]
}

fn bus_conf(folder: &Path) -> String {
    let services = folder.join("services");
    fs::create_dir_all(&services).expect("a folder");
    for service in SERVICES {
        let system = Path::new("/usr/share/dbus-1/services").join(service);
        fs::copy(&system, services.join(service))
            .unwrap_or_else(|error| panic!("{}: {error}", system.display()));
    }
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:dir={}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{}</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#,
        folder.display(),
        services.display(),
    )
}

/// Returns a command whose stderr goes to a log named after the program.
fn command(
    program: impl AsRef<Path>,
    folder: &Path,
    environment: &[(&'static str, OsString)],
) -> Command {
    let program = program.as_ref();
    let name = program.file_name().expect("a program").to_string_lossy();
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(format!("{name}.log")))
        .expect("a log");
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    command
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| {
        panic!(
            "{}: {error}; hint: `cargo xtask test` installs it",
            command.as_std().get_program().display()
        )
    })
}

/// Starts a program and returns its first line of output, which says where it listens.
async fn first_line(command: &mut Command) -> (Child, String) {
    let mut child = spawn(command.stdout(Stdio::piped()));
    let output = child.stdout.take().expect("its output");
    let mut lines = BufReader::new(output).lines();
    let name = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let line = within(&name, lines.next_line()).await.expect("its output");
    let line = line.unwrap_or_else(|| panic!("{name} ended before it listened"));
    (child, line)
}
