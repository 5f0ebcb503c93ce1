//! The ways to start `mcp-remote`.

/// Returns the arguments of `mcp-remote`. Returns `None` if the command starts something else.
pub(in crate::hosts) fn arguments<'a>(command: &str, args: &'a [String]) -> Option<&'a [String]> {
    match program(command).as_str() {
        "mcp-remote" => Some(args),
        "cmd" => {
            let (flag, rest) = args.split_first()?;
            let (command, rest) = rest.split_first()?;
            let runs = flag.eq_ignore_ascii_case("/c");
            runs.then(|| arguments(command, rest)).flatten()
        }
        "env" => {
            let (command, rest) = args.split_first()?;
            arguments(command, rest)
        }
        "npx" | "bunx" | "pnpx" => after_package(args),
        "npm" | "pnpm" | "yarn" => after_verb(args),
        "bun" => after_verb(args).or_else(|| after_script(args)),
        "node" => after_script(args),
        _ => None,
    }
}

/// Returns the file name of a program in lower case, without the extensions of Windows.
fn program(command: &str) -> String {
    let name = command.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let bare = [".exe", ".cmd", ".bat", ".ps1"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    bare.map_or_else(|| name.clone(), str::to_owned)
}

/// As in `pnpm dlx mcp-remote`.
fn after_verb(args: &[String]) -> Option<&[String]> {
    let (verb, rest) = args.split_first()?;
    let runs = matches!(verb.as_str(), "exec" | "x" | "dlx");
    runs.then(|| after_package(rest)).flatten()
}

/// As in `npx -y mcp-remote@latest`.
fn after_package(args: &[String]) -> Option<&[String]> {
    let mut rest = args;
    loop {
        let (first, after) = rest.split_first()?;
        rest = match first.as_str() {
            "-p" | "--package" | "--registry" => after.get(1..)?,
            option if option.starts_with('-') => after,
            package => return is_package(package).then_some(after),
        };
    }
}

fn is_package(text: &str) -> bool {
    text.strip_prefix("mcp-remote")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
}

/// As in `node /opt/mcp-remote/dist/proxy.js`, and npx itself as a script.
fn after_script(args: &[String]) -> Option<&[String]> {
    let at = args.iter().position(|arg| !arg.starts_with('-'))?;
    let (script, rest) = (&args[at], &args[at + 1..]);
    let parts: Vec<&str> = script.split(['/', '\\']).collect();
    match *parts.last()? {
        "proxy.js" if parts.contains(&"mcp-remote") => Some(rest),
        "mcp-remote" => Some(rest),
        "npx-cli.js" => after_package(rest),
        _ => None,
    }
}
