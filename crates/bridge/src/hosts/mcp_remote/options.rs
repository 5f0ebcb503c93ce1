//! Parses the options of `mcp-remote`.

/// The parsed options, with a warning for each unsupported one.
#[derive(Default)]
pub(super) struct Given<'a> {
    pub(super) url: Option<&'a str>,
    pub(super) transport: Option<&'a str>,
    pub(super) headers: Vec<&'a str>,
    pub(super) header_files: Vec<&'a str>,
    pub(super) client_info: Option<&'a str>,
    pub(super) client_metadata: Option<&'a str>,
    /// `--client-credentials`.
    pub(super) uses_client_credentials: bool,
    pub(super) warnings: Vec<String>,
}

/// Unsupported options: the name, whether a value follows, and the warning.
const UNSUPPORTED: [(&str, bool, &str); 25] = [
    (
        "--auth-success-url",
        true,
        "the browser shows Postern's page",
    ),
    (
        "--auth-timeout",
        true,
        "use `sign_in_wait_seconds` under [bridge] of config.toml instead",
    ),
    (
        "--authorize-param",
        true,
        "Postern adds nothing to the authorization request",
    ),
    ("--body-timeout", true, "Postern has its own timeouts"),
    (
        "--callback-path",
        true,
        "the browser comes back to Postern's own address",
    ),
    (
        "--client-metadata-url",
        true,
        "use `client_metadata_url` under [bridge] of config.toml instead",
    ),
    ("--connect-timeout", true, "Postern has its own timeouts"),
    ("--debug", false, "use `POSTERN_LOG=debug` instead"),
    (
        "--device-code",
        false,
        "Postern does that by itself where there is no browser",
    ),
    ("--disable-cookies", false, "Postern keeps no cookies"),
    (
        "--disable-resource-parameter",
        false,
        "Postern omits the parameter for Entra ID, and only there",
    ),
    (
        "--enable-proxy",
        false,
        "use `proxy` under [bridge] of config.toml instead",
    ),
    ("--headers-timeout", true, "Postern has its own timeouts"),
    (
        "--host",
        true,
        "the browser comes back to Postern's own address",
    ),
    (
        "--ignore-tool",
        true,
        "Postern offers every tool of the server",
    ),
    ("--ipv4", false, "Postern tries both families"),
    (
        "--keep-alive",
        false,
        "Postern keeps its connections by itself",
    ),
    (
        "--ping-interval",
        true,
        "Postern keeps its connections by itself",
    ),
    (
        "--protocol",
        true,
        "Postern speaks both revisions by itself",
    ),
    (
        "--resource",
        true,
        "Postern asks for what the server calls itself",
    ),
    ("--silent", false, "Postern logs to a file of its own"),
    (
        "--token-endpoint",
        true,
        "Postern asks the server for its authorization server",
    ),
    (
        "--use-id-token",
        false,
        "Postern sends the access token, which this server may refuse",
    ),
    ("--help", false, "it has no meaning in an entry"),
    ("--version", false, "it has no meaning in an entry"),
];

/// Longer text is not shown, because it may not be a name.
const MAX_NAME: usize = 40;

pub(super) fn read(args: &[String]) -> Given<'_> {
    let mut given = Given::default();
    let mut rest = args.iter().map(String::as_str);
    while let Some(arg) = rest.next() {
        match arg {
            "--header" => given.headers.extend(rest.next()),
            "--header-file" => given.header_files.extend(rest.next()),
            "--transport" => given.transport = given.transport.or(rest.next()),
            "--static-oauth-client-info" => given.client_info = given.client_info.or(rest.next()),
            "--static-oauth-client-metadata" => {
                given.client_metadata = given.client_metadata.or(rest.next());
            }
            "--client-credentials" => given.uses_client_credentials = true,
            // The user approves that separately.
            "--allow-http" => {}
            option if option.starts_with('-') => {
                skip_unsupported(option, &mut rest, &mut given.warnings)
            }
            positional if given.url.is_none() => given.url = Some(positional),
            port if is_port(port) => {
                let warning = format!("the port {port}: the browser comes back to a free port");
                given.warnings.push(warning);
            }
            // The value of an unknown option, which has a warning already.
            _ => {}
        }
    }
    given
}

fn skip_unsupported<'a>(
    option: &str,
    rest: &mut impl Iterator<Item = &'a str>,
    warnings: &mut Vec<String>,
) {
    let known = UNSUPPORTED.iter().find(|(name, ..)| *name == option);
    let warning = match known {
        Some((name @ "--ignore-tool", _, why)) => {
            format!("`{name} {}`: {why}", rest.next().unwrap_or_default())
        }
        Some((name, has_value, why)) => {
            if *has_value {
                rest.next();
            }
            format!("`{name}`: {why}")
        }
        None => {
            let name = option.split('=').next().unwrap_or_default();
            let is_name = name.len() <= MAX_NAME
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            let name = if is_name { name } else { "-…" };
            format!("`{name}`: Postern does not know this option")
        }
    };
    if !warnings.contains(&warning) {
        warnings.push(warning);
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}
