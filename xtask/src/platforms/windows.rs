//! Windows: builds the command line with mingw and uses it under Wine as a user would.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{cross, host::Host, wine::Wine};
use crate::{
    steps::{Steps, run},
    tree,
};

const TARGET: &str = "x86_64-pc-windows-gnu";

/// The installed program.
const POSTERN: &str = r"C:\Program Files\Postern\postern.exe";

/// The program of the demo, which is also its browser. The path of a browser must not contain blanks.
const DEMO: &str = r"C:\demo\postern.exe";

/// A library of Windows that Wine lacks and Rust's standard library needs.
const STUB: &str = "bcryptprimitives.dll";

/// Tests that Wine does not support, because they create a certificate authority. Wine trusts only
/// those of the system.
const BEYOND_WINE: [&str; 6] = [
    "untrusted_certificate_is_rejected",
    "discovery::tests::",
    "http::tests::public_zone_never_connects",
    "http::tests::probe_names_issuer",
    "sign_in::prior_state::tests::",
    "token::tests::",
];

pub(super) fn steps(steps: &mut Steps) -> Result<()> {
    steps.step("Windows stub", STUB, build_stub)?;
    steps.command("Windows build", &mut cross::cargo("build", TARGET, &[]))?;
    let wine = Wine::new(super::folder().join("wine"))?;
    let skipped = BEYOND_WINE.iter().flat_map(|test| ["--skip", test]);
    let tests = ["--lib", "--no-fail-fast", "--"].into_iter().chain(skipped);
    let tests: Vec<&str> = tests.collect();
    steps.command(
        "Windows tests",
        wine.runs(&mut cross::cargo("test", TARGET, &tests)),
    )?;
    steps.step("Windows run", "the command line under Wine", || {
        use_it(&wine)
    })
}

/// Builds the library beside the program and beside its tests.
fn build_stub() -> Result<()> {
    for folder in [built(""), built("deps")] {
        fs::create_dir_all(&folder)?;
        run(Command::new("x86_64-w64-mingw32-gcc")
            .args(["-shared", "-O2", "-o"])
            .arg(folder.join(STUB))
            .arg(tree::root().join("xtask/platforms/bcryptprimitives.c"))
            .arg("-ladvapi32"))?;
    }
    Ok(())
}

fn built(file: &str) -> PathBuf {
    super::folder().join(TARGET).join("debug").join(file)
}

/// Performs each check, and prints its result.
fn use_it(wine: &Wine) -> Result<()> {
    install(wine)?;
    let demo = Demo::start(wine)?;
    let desk = Desk::new(wine)?;
    desk.sign_in(&demo.gateway)?;
    desk.look_into_the_vault()?;
    let entry = desk.add_to_claude_desktop()?;
    desk.work_with(&entry)?;
    desk.follow_proxy_script()?;
    desk.sign_out()
}

fn install(wine: &Wine) -> Result<()> {
    for folder in ["Program Files/Postern", "demo"].map(|folder| wine.drive_c(folder)) {
        fs::create_dir_all(&folder)?;
        for file in ["postern.exe", STUB] {
            fs::hard_link(built(file), folder.join(file))
                .with_context(|| format!("cannot install {file}"))?;
        }
    }
    let version = wine.output(POSTERN, &["--version"])?;
    saw(version.trim());
    Ok(())
}

/// The emulator, the gateway, the sample server and a bridge with a signed-in user. They end when this
/// value is dropped.
struct Demo {
    program: Child,
    /// The URL of its gateway's server.
    gateway: String,
}

impl Demo {
    /// Starts the demo and waits until it has called every tool over every transport.
    fn start(wine: &Wine) -> Result<Self> {
        let mut command = wine.program(DEMO);
        command.args(["demo", "--scripted", "--keep", "--keychain"]);
        command.args(["--home", r"C:\demo"]);
        let mut program = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = program.stdout.take().context("no stdout")?;
        let mut said = String::new();
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("    | {}", line.trim_end());
            said += &line;
            if line.contains("Ctrl-C ends everything") {
                break;
            }
        }
        let gateway = gateway_of(&wine.drive_c("demo"))?;
        ensure!(
            said.contains("Signed in to snippets"),
            "no account signed in"
        );
        for face in ["stdio", "http", "sse"] {
            let kept = format!(r#""text":"said over {face}""#);
            ensure!(said.contains(&kept), "no tool was called over {face}");
        }
        saw("signed in at the emulator; all tools called over the named pipe, HTTP and SSE");
        Ok(Self { program, gateway })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // All other processes end with this Windows.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn gateway_of(demo: &Path) -> Result<String> {
    let config = fs::read_to_string(demo.join("config/config.toml"))?;
    let url = config.lines().find_map(|line| line.strip_prefix("url = "));
    let url = url.context("the demo's bridge knows no server")?;
    Ok(url.trim_matches('"').to_owned())
}

/// A user's installation, in the usual folders of Windows.
struct Desk<'a> {
    wine: &'a Wine,
    roaming: PathBuf,
    local: PathBuf,
}

impl<'a> Desk<'a> {
    fn new(wine: &'a Wine) -> Result<Self> {
        let profile = wine.profile()?;
        let desk = Self {
            wine,
            roaming: profile.join("AppData/Roaming"),
            local: profile.join("AppData/Local"),
        };
        // Any free port, so that other programs on this machine are not affected.
        let config = desk.roaming.join("Postern/config.toml");
        write(&config, "[bridge]\nport = 0\n")?;
        Ok(desk)
    }

    /// Runs a command until its stdout ends. Processes that it leaves in the background must not hold
    /// its stdout.
    fn postern(&self, arguments: &[&str]) -> Result<String> {
        self.wine.output(POSTERN, arguments)
    }

    fn state(&self) -> Result<Value> {
        let text = self.postern(&["status", "--json"])?;
        serde_json::from_str(&text).context("`status --json` is not JSON")
    }

    fn sign_in(&self, gateway: &str) -> Result<()> {
        // The bridge starts the browser, so it must know the browser from its start.
        let mut first = self.wine.program(POSTERN);
        first
            .args(["bridge", "--detach"])
            .env("POSTERN_BROWSER", format!("{DEMO} demo-browser"));
        run(first.stdin(Stdio::null()).stderr(Stdio::null()))?;
        self.postern(&["servers", "add", "snippets", gateway])?;
        let said = self.postern(&["sign-in", "snippets"])?;
        ensure!(said.contains("as adele@contoso.example"), "{said}");
        saw(said.trim());
        Ok(())
    }

    /// Checks that the key is only in the Credential Manager, and that the tokens are sealed with it.
    fn look_into_the_vault(&self) -> Result<()> {
        let state = self.state()?;
        let vault = &state["bridge"]["vault"];
        ensure!(vault["state"] == "keychain", "the vault: {vault}");
        let query = ["query", r"HKCU\Software\Wine\Credential Manager", "/s"];
        let credentials = self.wine.output("reg", &query)?;
        let mut lines = credentials.lines();
        let key = lines.find(|line| line.contains("Generic: ") && line.ends_with(".Postern"));
        let key = key.context("the Credential Manager has nothing of Postern's")?;
        let (_, key) = key.rsplit_once('\\').unwrap_or_default();
        saw(&format!("the key is in the Credential Manager: {key}"));

        let vault = self.local.join("Postern/vault");
        let files = names(&vault)?;
        ensure!(
            files.iter().any(|name| name.starts_with("grant-"))
                && !files.iter().any(|name| name == "key"),
            "in the vault: {files:?}"
        );
        saw(&format!("the tokens are in {}", vault.display()));
        Ok(())
    }

    /// Adds the server on both paths of the host's file. Returns the written entry.
    fn add_to_claude_desktop(&self) -> Result<Value> {
        let classic = self.roaming.join("Claude/claude_desktop_config.json");
        let before = "{\r\n  \"theme\": \"dark\"\r\n}\r\n";
        write(&classic, before)?;
        self.add_to(&classic)?;
        let remove = ["hosts", "remove", "claude-desktop", "snippets", "--yes"];
        self.postern(&remove)?;
        ensure!(fs::read_to_string(&classic)? == before, "a trace is left");
        saw("removed again, to the byte");

        let package = self.local.join("Packages/Claude_pzs8sxrjxfjjc");
        fs::create_dir_all(&package)?;
        let packaged = package.join("LocalCache/Roaming/Claude/claude_desktop_config.json");
        let entry = self.add_to(&packaged)?;
        ensure!(
            fs::read_to_string(&classic)? == before,
            "the classic file was touched"
        );
        Ok(entry)
    }

    fn add_to(&self, file: &Path) -> Result<Value> {
        self.postern(&["hosts", "add", "claude-desktop", "snippets", "--yes"])?;
        let text = fs::read_to_string(file).with_context(|| format!("no {}", file.display()))?;
        let mut config: Value = serde_json::from_str(&text)?;
        let entry = config["mcpServers"]["snippets"].take();
        ensure!(
            entry == json!({ "command": POSTERN, "args": ["connect", "snippets"] }),
            "in {}: {text}",
            file.display()
        );
        saw(&format!("added to {}: {entry}", file.display()));
        Ok(entry)
    }

    /// Checks that a host loses no later call when its bridge is replaced and killed.
    fn work_with(&self, entry: &Value) -> Result<()> {
        let mut host = Host::spawn(self.wine, entry)?;
        let greeting = host.call("hello_mcp", &json!({}))?;
        saw(&format!("a host calls hello_mcp: {greeting}"));

        let first = self.bridge()?;
        self.postern(&["bridge", "--detach", "--replace"])?;
        let second = self.bridge()?;
        ensure!(second != first, "the bridge was not replaced");
        let snippet = json!({ "snippetname": "desk", "snippet": "kept" });
        host.call("save_snippet", &snippet)?;
        saw("the bridge is replaced under it, and save_snippet arrives");

        let kill = ["/F", "/PID", &second.to_string()];
        self.wine.output("taskkill", &kill)?;
        let kept = host.call("get_snippet", &json!({ "snippetname": "desk" }))?;
        ensure!(kept == "kept", "get_snippet: {kept}");
        let third = self.bridge()?;
        ensure!(third != second, "a killed bridge answers");
        saw("the bridge is killed under it; the shim starts one, and get_snippet arrives");

        host.end()?;
        ensure!(self.bridge()? == third, "the bridge ended with its host");
        saw("the host ends, its shim with it, and the bridge stays");
        Ok(())
    }

    /// Checks that the proxy for a remote server is the one that the script of the network settings
    /// names.
    fn follow_proxy_script(&self) -> Result<()> {
        let script = Script::serve(
            r#"function FindProxyForURL(url, host) {
                return dnsDomainIs(host, ".inside.example") ? "DIRECT" : "PROXY 127.0.0.1:9";
            }"#,
        )?;
        let settings =
            r"HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings\Connections";
        let value = connection_settings(&script.url);
        let add = ["add", settings, "/v", "DefaultConnectionSettings"];
        let value = ["/t", "REG_BINARY", "/d", &value, "/f"];
        self.wine.output("reg", &[&add[..], &value].concat())?;
        for (name, url) in [
            ("far", "https://far.example/mcp"),
            ("near", "https://mcp.inside.example/mcp"),
        ] {
            self.postern(&["servers", "add", name, url])?;
        }
        let expected = [
            "http://127.0.0.1:9 on the way to https://far.example",
            "none on the way to https://mcp.inside.example",
        ];
        // The first run of a script may take longer than a bridge waits on a slow machine.
        let mut checks = String::new();
        for _ in 0..6 {
            // `doctor` fails, because neither server exists.
            checks = self.wine.said(POSTERN, &["doctor", "--json"])?.1;
            if checks.contains(expected[0]) {
                break;
            }
        }
        for proxy in expected {
            ensure!(checks.contains(proxy), "not `{proxy}` but {checks}");
            saw(&format!("the proxy script says: {proxy}"));
        }
        Ok(())
    }

    fn bridge(&self) -> Result<u64> {
        let pid = &self.state()?["bridge"]["pid"];
        pid.as_u64().context("the bridge has no process")
    }

    fn sign_out(&self) -> Result<()> {
        self.postern(&["sign-out", "--all"])?;
        let state = self.state()?;
        if state["accounts"] != json!([]) {
            bail!("an account is still signed in: {}", state["accounts"]);
        }
        saw("signed out");
        Ok(())
    }
}

/// Returns a user's network settings with only a script, in the registry's format and in hexadecimal:
/// version, counter and flags, then proxy, exceptions and script, each after its length.
fn connection_settings(script: &str) -> String {
    const VERSION: u32 = 0x46;
    const DIRECT_AND_BY_SCRIPT: u32 = 1 | 4;
    let length = u32::try_from(script.len()).unwrap_or_default();
    let head = [VERSION, 0, DIRECT_AND_BY_SCRIPT, 0, 0, length];
    let bytes = head.into_iter().flat_map(u32::to_le_bytes);
    let bytes = bytes.chain(script.bytes());
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// A script that Windows fetches by HTTP, as long as this program runs.
struct Script {
    url: String,
}

impl Script {
    fn serve(script: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/proxy.pac", listener.local_addr()?);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that does not read the response requests it again.
                let _ = hand_out(stream, script);
            }
        });
        Ok(Self { url })
    }
}

fn hand_out(mut stream: TcpStream, script: &str) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let length = script.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ns-proxy-autoconfig\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{script}"
    )
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().display().to_string());
    entries.map(name).collect()
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(file.with_file_name(""))?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn saw(what: &str) {
    println!("    {what}");
}
